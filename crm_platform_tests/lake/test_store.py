"""Appends, replacements and reads of real Delta tables, and what other readers see of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from crm_platform.lake import Commit, Lake
from crm_platform.lake.errors import (
    LayoutError,
    RowsOutsideError,
    SchemaChangeError,
    TableMissingError,
    TableNameError,
    TableUnreadableError,
)

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UTC_US = pl.Datetime("us", "UTC")


def versions(*rows: tuple[str, date, str]) -> pl.DataFrame:
    """One row per (entity, day, name), with one column of every awkward type."""
    return pl.DataFrame(
        {
            "entity_id": pl.Series([entity for entity, _, _ in rows], dtype=pl.String),
            "event_time": pl.Series([NOON + timedelta(days=(day - FIRST).days) for _, day, _ in rows], dtype=UTC_US),
            "processed_date": pl.Series([day for _, day, _ in rows], dtype=pl.Date),
            "name": pl.Series([name for _, _, name in rows], dtype=pl.String),
            "amount": pl.Series([Decimal("10.10") for _ in rows], dtype=pl.Decimal(18, 2)),
            "changed_fields": pl.Series(
                [["name", "amount"] if i % 2 else None for i, _ in enumerate(rows)], dtype=pl.List(pl.String)
            ),
        }
    )


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake", metadata={"run_id": "run-1"})


def names(lake, table="history/account"):
    return lake.scan(table).sort("entity_id", "processed_date").select("entity_id", "name").collect().rows()


def test_a_missing_table_is_an_empty_frame_of_the_given_schema_and_an_error_without_one(lake):
    schema = pl.Schema({"entity_id": pl.String(), "amount": pl.Decimal(18, 2)})
    assert lake.scan("history/account", schema=schema).collect().schema == schema
    assert lake.scan("history/account", schema=schema).collect().height == 0
    assert (lake.exists("history/account"), lake.version("history/account")) == (False, None)
    with pytest.raises(TableMissingError, match=r"history/account does not exist yet"):
        lake.scan("history/account")


def test_a_broken_log_is_an_error_not_an_empty_table(lake):
    lake.append("landing/changes/account", versions(("a", FIRST, "x")), token="t")
    log = lake.folder("landing/changes/account/_delta_log") / "00000000000000000000.json"
    log.write_text("{not json")
    with pytest.raises(TableUnreadableError, match=r"landing/changes/account .* cannot be read"):
        lake.scan("landing/changes/account", schema=pl.Schema({"entity_id": pl.String()}))
    log.rename(log.with_name("00000000000000000007.json"))
    with pytest.raises(TableUnreadableError, match=r"cannot be read"):
        lake.version("landing/changes/account")


def test_a_missing_data_file_is_an_error_not_fewer_rows(lake, tmp_path):
    lake.append("landing/changes/account", versions(("a", FIRST, "x"), ("b", SECOND, "y")), token="t")
    next((tmp_path / "lake").rglob("*.parquet")).unlink()
    with pytest.raises(OSError, match="No such file"):
        lake.scan("landing/changes/account").collect()


@pytest.mark.parametrize(
    "name", ["account", "history/../landing/x", "history/a/../../x", "nowhere/x", "/etc/passwd", "History/x"]
)
def test_a_name_without_a_layout_is_refused(lake, name):
    with pytest.raises(TableNameError):
        lake.scan(name)


def test_an_append_with_a_token_seen_before_does_nothing(lake):
    frame = versions(("b", FIRST, "two"), ("a", SECOND, "one"))
    assert lake.append("landing/changes/account", frame, token="batch-1") == Commit(
        "landing/changes/account", 0, 2, (FIRST, SECOND)
    )
    assert lake.append("landing/changes/account", frame, token="batch-1") is None
    assert lake.append("landing/changes/account", frame, token="batch-2") == Commit(
        "landing/changes/account", 1, 2, (FIRST, SECOND)
    )
    assert lake.version("landing/changes/account") == 1
    assert lake.rows("landing/changes/account") == 4


def test_rows_that_fill_their_days_land_only_while_these_are_empty(lake):
    table, both = "landing/snapshot/account", pl.DataFrame({"entity_id": ["a", "b"], "snapshot_date": [FIRST, SECOND]})
    assert lake.append(table, both[:1], token="batch-1", fills=True).rows == 1
    assert lake.append(table, both[:1], token="batch-1", fills=True) is None
    assert lake.append(table, both, token="batch-2", fills=True) is None
    assert lake.append(table, both[1:], token="batch-2", fills=True).days == (SECOND,)
    assert lake.rows_by_day(table) == {FIRST: 1, SECOND: 1}


def test_an_empty_append_makes_no_table(lake):
    assert lake.append("landing/changes/account", versions(), token="t") is None
    assert lake.exists("landing/changes/account") is False


def test_what_is_read_back_has_the_types_and_values_that_were_written(lake):
    frame = versions(("a", FIRST, "x"), ("b", SECOND, "y"))
    lake.append("landing/changes/account", frame, token="t")
    back = lake.scan("landing/changes/account", schema=frame.schema).sort("entity_id").collect()
    assert back.schema == frame.schema
    assert back.equals(frame)


def test_only_the_files_of_the_asked_days_are_opened(lake):
    lake.append(
        "landing/changes/account", versions(("a", FIRST, "x"), ("b", SECOND, "y"), ("c", THIRD, "z")), token="t"
    )
    plan = lake.scan("landing/changes/account", days=[SECOND]).explain()
    assert plan.count(".parquet") == 1
    assert "processed_date=2026-03-02" in plan
    assert lake.scan("landing/changes/account", days=[SECOND, THIRD]).select("entity_id").sort(
        "entity_id"
    ).collect().rows() == [("b",), ("c",)]
    assert lake.scan("landing/changes/account", days=[]).collect().height == 0
    assert [file.split("/")[-2] for file in lake.files("landing/changes/account", [FIRST])] == [
        "processed_date=2026-03-01"
    ]
    assert lake.days("landing/changes/account") == [FIRST, SECOND, THIRD]


def test_an_older_version_can_be_read(lake):
    lake.append("landing/changes/account", versions(("a", FIRST, "x")), token="1")
    lake.append("landing/changes/account", versions(("b", FIRST, "y")), token="2")
    assert lake.scan("landing/changes/account", version=0).select("name").collect().rows() == [("x",)]


def test_an_equal_replacement_makes_no_version_whatever_the_order_of_rows(lake):
    frame = versions(("a", FIRST, "x"), ("b", FIRST, "y"), ("a", SECOND, "z"))
    assert lake.replace("history/account", frame, days=[FIRST, SECOND, THIRD]) == Commit(
        "history/account", 0, 3, (FIRST, SECOND)
    )
    assert lake.replace("history/account", frame.reverse(), days=[FIRST, SECOND, THIRD]) is None
    assert lake.replace("history/account", frame.lazy().select(pl.all().reverse()), days=[THIRD, SECOND, FIRST]) is None
    assert lake.version("history/account") == 0


def test_a_replacement_rewrites_only_the_days_whose_content_differs(lake):
    lake.replace(
        "history/account",
        versions(("a", FIRST, "x"), ("b", SECOND, "y"), ("c", THIRD, "z")),
        days=[FIRST, SECOND, THIRD],
    )
    before = {day: lake.files("history/account", [day]) for day in (FIRST, SECOND, THIRD)}
    commit = lake.replace(
        "history/account", versions(("a", FIRST, "x"), ("b", SECOND, "changed")), days=[FIRST, SECOND]
    )
    assert commit == Commit("history/account", 1, 1, (SECOND,))
    assert lake.files("history/account", [FIRST]) == before[FIRST]
    assert lake.files("history/account", [THIRD]) == before[THIRD]
    assert lake.files("history/account", [SECOND]) != before[SECOND]
    assert names(lake) == [("a", "x"), ("b", "changed"), ("c", "z")]


def test_a_day_without_rows_becomes_empty_and_stays_so(lake):
    lake.replace("history/account", versions(("a", FIRST, "x"), ("b", SECOND, "y")), days=[FIRST, SECOND])
    assert lake.replace("history/account", versions(), days=[FIRST]) == Commit("history/account", 1, 0, (FIRST,))
    assert lake.replace("history/account", versions(), days=[FIRST]) is None
    assert names(lake) == [("b", "y")]
    emptied_and_filled = lake.replace("history/account", versions(("c", FIRST, "z")), days=[FIRST, SECOND])
    assert emptied_and_filled == Commit("history/account", 2, 1, (FIRST, SECOND))
    assert names(lake) == [("c", "z")]


def test_rows_outside_the_days_are_refused_and_nothing_is_written(lake):
    with pytest.raises(
        RowsOutsideError, match=r"1 rows for history/account lie outside .* processed_date = 2026-03-03"
    ):
        lake.replace("history/account", versions(("a", FIRST, "x"), ("b", THIRD, "y")), days=[FIRST, SECOND])
    homeless = versions(("a", FIRST, "x")).with_columns(processed_date=pl.lit(None, dtype=pl.Date))
    with pytest.raises(RowsOutsideError):
        lake.replace("history/account", homeless, days=[FIRST])
    with pytest.raises(RowsOutsideError):
        lake.replace("history/account", versions(("a", FIRST, "x")), days=[])
    assert lake.exists("history/account") is False


def test_landed_tables_are_never_replaced_and_partitioned_ones_never_overwritten(lake):
    with pytest.raises(LayoutError, match="append-only"):
        lake.replace("landing/changes/account", versions(), days=[FIRST])
    with pytest.raises(LayoutError, match="partitioned by processed_date"):
        lake.overwrite("history/account", versions())
    with pytest.raises(LayoutError, match="no partitions"):
        lake.replace("current/account", versions(), days=[FIRST])
    with pytest.raises(LayoutError, match="append-only"):
        lake.overwrite("gate/red", versions())


def test_an_entity_range_is_a_partition_like_a_day(lake):
    carried = pl.DataFrame(
        {"entity_id": ["a", "b"], "entity_range": pl.Series([0, 1], dtype=pl.Int64), "total": [1, 2]}
    )
    lake.replace("state/account_activity", carried, days=[0, 1])
    kept = lake.files("state/account_activity", [0])
    changed = carried.filter(pl.col("entity_range") == 1).with_columns(total=pl.lit(5, dtype=pl.Int64))
    assert lake.replace("state/account_activity", changed, days=[1]) == Commit("state/account_activity", 1, 1, (1,))
    assert lake.files("state/account_activity", [0]) == kept
    assert lake.scan("state/account_activity").sort("entity_id").collect().get_column("total").to_list() == [1, 5]


def test_an_unpartitioned_table_is_overwritten_only_where_it_differs(lake):
    frame = pl.DataFrame({"id": ["1", "2"], "name": ["x", None]})
    assert lake.overwrite("current/account", frame) == Commit("current/account", 0, 2, ())
    assert lake.overwrite("current/account", frame.reverse()) is None
    assert lake.overwrite("current/account", frame.head(1)) == Commit("current/account", 1, 1, ())
    assert lake.overwrite("current/account", frame.head(0)) == Commit("current/account", 2, 0, ())
    widened = frame.with_columns(city=pl.lit("Oslo"))
    assert lake.overwrite("current/account", widened) == Commit("current/account", 3, 2, ())
    assert lake.scan("current/account").sort("id").collect().equals(widened)


def test_new_columns_are_added_and_older_rows_read_null(lake):
    lake.append("landing/changes/account", versions(("a", FIRST, "x")), token="1")
    lake.append("landing/changes/account", versions(("b", SECOND, "y")).with_columns(city=pl.lit("Oslo")), token="2")
    lake.append("landing/changes/account", versions(("c", THIRD, "z")), token="3")
    assert lake.scan("landing/changes/account").sort("entity_id").collect().get_column("city").to_list() == [
        None,
        "Oslo",
        None,
    ]


def test_a_replacement_with_a_new_column_rewrites_the_days_that_fill_it(lake):
    lake.replace("history/account", versions(("a", FIRST, "x"), ("b", SECOND, "y")), days=[FIRST, SECOND])
    kept = lake.files("history/account", [FIRST])
    widened = versions(("a", FIRST, "x"), ("b", SECOND, "y")).with_columns(
        city=pl.when(pl.col("entity_id") == "b").then(pl.lit("Oslo"))
    )
    assert lake.replace("history/account", widened, days=[FIRST, SECOND]) == Commit("history/account", 1, 1, (SECOND,))
    assert lake.files("history/account", [FIRST]) == kept
    assert lake.scan("history/account").sort("entity_id").collect().get_column("city").to_list() == [None, "Oslo"]


def test_a_retyped_or_removed_column_is_refused_by_name(lake):
    frame = versions(("a", FIRST, "x"))
    lake.replace("history/account", frame, days=[FIRST])
    with pytest.raises(SchemaChangeError, match=r"amount \(Decimal.* in the table, Float64 in the frame\)"):
        lake.replace("history/account", frame.with_columns(amount=pl.lit(1.0)), days=[FIRST])
    with pytest.raises(SchemaChangeError, match=r"lose 1 columns: name"):
        lake.replace("history/account", frame.drop("name"), days=[FIRST])
    with pytest.raises(SchemaChangeError, match=r"lacks its partition column processed_date"):
        lake.replace("history/account", frame.drop("processed_date"), days=[FIRST])
    with pytest.raises(SchemaChangeError, match="amount"):
        lake.scan("history/account", schema=pl.Schema({"amount": pl.Float64()}))
    assert lake.version("history/account") == 0


def test_types_that_delta_cannot_hold_are_refused_and_unsigned_ones_widened(lake):
    frame = versions(("a", FIRST, "x"))
    with pytest.raises(SchemaChangeError, match=r"seen \(Datetime"):
        lake.append("landing/changes/account", frame.with_columns(seen=pl.lit(datetime(2026, 3, 1))), token="t")  # noqa: DTZ001  a naive one, on purpose
    with pytest.raises(SchemaChangeError, match=r"nothing \(Null\)"):
        lake.append("landing/changes/account", frame.with_columns(nothing=None), token="t")
    counted = frame.with_columns(count=pl.lit(3, dtype=pl.UInt32), stage=pl.lit("won", dtype=pl.Enum(["won", "lost"])))
    lake.replace("history/account", counted, days=[FIRST])
    assert lake.replace("history/account", counted, days=[FIRST]) is None
    assert lake.scan("history/account").select("count", "stage").collect().rows() == [(3, "won")]


def test_rows_are_sorted_by_entity_and_time_within_a_file_of_small_row_groups(lake):
    count = 300_000
    days = pl.DataFrame({"entity_id": [f"e{(i * 7919) % 5000:05d}" for i in range(count)]}).with_columns(
        event_time=pl.lit(NOON).cast(UTC_US) - pl.duration(seconds=pl.int_range(count)), processed_date=pl.lit(FIRST)
    )
    lake.append("landing/changes/account", days, token="t")
    (file,) = lake.files("landing/changes/account")
    groups = pq.read_metadata(file)
    assert groups.num_row_groups == 3
    assert groups.row_group(0).num_rows == 131_072
    written = pl.read_parquet(file, hive_partitioning=False)
    assert written.equals(written.sort("entity_id", "event_time"))


def test_duckdb_and_deltalake_read_the_table_without_our_code(lake, tmp_path):
    lake.replace("history/account", versions(("a", FIRST, "x"), ("b", SECOND, "y")), days=[FIRST, SECOND])
    lake.replace("history/account", versions(("b", SECOND, "z")), days=[SECOND])
    table = DeltaTable(tmp_path / "lake" / "history" / "account")
    assert sorted(pl.DataFrame(table.to_pyarrow_table()).select("entity_id", "name").rows()) == [("a", "x"), ("b", "z")]
    found = duckdb.connect().execute(
        "SELECT entity_id, name, amount, changed_fields, epoch_us(event_time), processed_date "
        "FROM read_parquet(?, hive_partitioning = true) ORDER BY entity_id",
        [table.file_uris()],
    )
    assert found.fetchall() == [
        ("a", "x", Decimal("10.10"), None, 1772366400000000, FIRST),
        ("b", "z", Decimal("10.10"), None, 1772452800000000, SECOND),
    ]
    assert table.history(1)[0]["run_id"] == "run-1"


def test_commits_say_where_they_come_from(lake, tmp_path):
    lake.append("landing/changes/account", versions(("a", FIRST, "x")), token="t", metadata={"code_version": "abc"})
    told = DeltaTable(tmp_path / "lake" / "landing" / "changes" / "account").history(1)[0]
    assert (told["run_id"], told["code_version"]) == ("run-1", "abc")


def test_the_lake_lists_its_tables(lake):
    assert lake.tables() == []
    lake.append("landing/changes/account", versions(("a", FIRST, "x")), token="t")
    lake.overwrite("current/account", pl.DataFrame({"id": ["1"]}))
    assert lake.tables() == ["current/account", "landing/changes/account"]
