"""SQL over the lake's tables, in UTC, whatever the machine's zone is."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from crm_platform.lake import Lake, query, rows_in_files
from crm_platform.lake.errors import TableMissingError

EARLY = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)


def changes(entity: str, amount: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "entity_id": [entity],
            "event_time": pl.Series([EARLY], dtype=pl.Datetime("us", "UTC")),
            "processed_date": [date(2026, 3, 1)],
            "amount": pl.Series([Decimal(amount)], dtype=pl.Decimal(18, 2)),
        }
    )


def test_a_table_is_asked_by_name_with_its_partition_typed_and_its_newest_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    lake = Lake(tmp_path)
    lake.append("landing/changes/deal", changes("a", "1.10"), token="1")
    lake.append("landing/changes/deal", changes("b", "2.20").with_columns(city=pl.lit("Oslo")), token="2")
    found = query(
        "SELECT sum(amount) AS total, max(city) AS city, max(event_time::DATE) AS day, "
        "bool_and(event_time::DATE = processed_date) AS same FROM deals",
        lake=lake,
        deals="landing/changes/deal",
    )
    assert found.rows() == [(Decimal("3.30"), "Oslo", date(2026, 3, 1), True)]


def test_frames_and_tables_are_joined(tmp_path):
    lake = Lake(tmp_path)
    lake.overwrite("current/deal", pl.DataFrame({"id": ["a", "b"], "stage": ["won", "lost"]}))
    found = query(
        "SELECT id, wanted FROM deals JOIN spine USING (id)",
        lake=lake,
        deals="current/deal",
        spine=pl.DataFrame({"id": ["b"], "wanted": [1]}),
    )
    assert found.rows() == [("b", 1)]


def test_a_table_that_was_emptied_is_empty(tmp_path):
    lake = Lake(tmp_path)
    lake.replace("history/deal", changes("a", "1.10"), days=[date(2026, 3, 1)])
    lake.replace("history/deal", changes("a", "1.10").clear(), days=[date(2026, 3, 1)])
    assert query("SELECT count(*) AS n FROM deals", lake=lake, deals="history/deal").item() == 0


def test_some_days_of_a_version_are_asked_and_all_its_rows_counted(tmp_path):
    lake, (first, second, third) = Lake(tmp_path), (date(2026, 3, day) for day in (1, 2, 3))
    lake.append("landing/changes/deal", changes("a", "1.10"), token="1")
    lake.append("landing/changes/deal", changes("b", "2.20").with_columns(processed_date=pl.lit(second)), token="2")
    told = "landing/changes/deal"
    for days, ids in (([second], ["b"]), ([first, second], ["a", "b"]), ([third], []), (None, ["a", "b"])):
        found = query("SELECT entity_id FROM told ORDER BY ALL", lake=lake, days=days, told=told)
        assert found["entity_id"].to_list() == ids
    assert query("SELECT entity_id FROM told", lake=lake, version=0, days=[second], told=told).is_empty()
    assert (rows_in_files(lake, told), rows_in_files(lake, told, 0)) == (2, 1)
    lake.replace("history/deal", changes("a", "1.10"), days=[first])
    lake.replace("history/deal", changes("a", "1.10").clear(), days=[first])
    assert rows_in_files(lake, "history/deal") == 0


def test_a_table_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(TableMissingError, match="history/deal does not exist"):
        query("SELECT 1 FROM deals", lake=Lake(tmp_path), deals="history/deal")
    with pytest.raises(TableMissingError, match="history/deal does not exist"):
        rows_in_files(Lake(tmp_path), "history/deal")
