import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from crm_platform.lake import Lake
from crm_platform.quality.parity import parity, unlike

DAY = dt.date(2026, 3, 3)


@pytest.fixture
def lake(tmp_path):
    """A table of current rows and one by day, with every kind of column."""
    made = Lake(tmp_path)
    moment = pl.Series([dt.datetime(2026, 3, 3, 1, tzinfo=dt.UTC)] * 3, dtype=pl.Datetime("us", "UTC"))
    rows = pl.DataFrame(
        {
            "entity_id": ["a", "b", None],
            "event_time": moment,
            "amount": pl.Series(["1.10", None, "3.00"]).cast(pl.Decimal(18, 2)),
            "changed_fields": [["stage", "amount"], [], None],
            "rate": [0.1, None, 2.5],
            "is_open": [True, False, None],
        }
    )
    made.overwrite("current/deal", rows)
    made.replace("history/deal", rows.with_columns(processed_time=moment, processed_date=pl.lit(DAY)), days=[DAY])
    return made


def cut_behind_the_log(lake, table):
    """Takes the last row out of a table's file, and leaves the file as long as the log says."""
    (file,) = map(Path, lake.files(table))
    whole, kept = file.stat().st_size, pl.read_parquet(file)
    kept.head(kept.height - 1).write_parquet(file, compression="zstd", statistics=False)
    short = file.read_bytes()
    footer = 8 + int.from_bytes(short[-8:-4], "little")
    assert len(short) < whole
    file.write_bytes(short[:-footer] + bytes(whole - len(short)) + short[-footer:])


@pytest.mark.parametrize("table", ["current/deal", "history/deal"])
def test_two_engines_read_the_same_from_a_sound_table(lake, table):
    (found,) = parity(lake, table).findings
    assert found.passed
    assert found.what.startswith("3 rows by the log and both engines")


def test_a_day_older_than_a_column_reads_the_same_without_it(lake):
    before = dt.date(2026, 3, 2)
    rows = lake.scan("history/deal").collect().with_columns(processed_date=pl.lit(before), city=pl.lit("Oslo"))
    lake.replace("history/deal", rows, days=[before])
    (found,) = parity(lake, "history/deal").findings
    assert found.passed
    assert found.what == "6 rows by the log and both engines; 2026-03-03 reads the same."


def test_a_table_that_is_not_there_yet_passes(lake):
    assert parity(lake, "current/lead").findings[0].what == "Nothing is written yet."


def test_a_file_that_was_changed_behind_the_log_is_found(lake):
    cut_behind_the_log(lake, "current/deal")
    result = parity(lake, "current/deal")
    assert result.findings[0].what.startswith("The log counts 3 rows, Polars 2 and DuckDB 2")
    assert (result.failing, result.total) == (1, 3)


def test_columns_whose_values_differ_are_named_and_the_order_of_rows_is_none_of_them(lake):
    ours = lake.scan("current/deal")
    assert unlike(ours, ours.reverse()) == []
    for changed in (
        pl.lit(9.0).alias("rate"),
        pl.col("event_time") + pl.duration(microseconds=1),
        pl.col("amount") + pl.lit("0.01").cast(pl.Decimal(18, 2)),
        pl.col("changed_fields").list.reverse(),
    ):
        assert unlike(ours, ours.with_columns(changed)) == [changed.meta.output_name()]


class Overtaken(Lake):
    """A lake into which somebody else writes while it is being counted."""

    def rows(self, table, version=None):
        rows = self.scan(table, days=[DAY]).collect()
        Lake(self.root).replace(table, pl.concat([rows, rows]), days=[DAY])
        return super().rows(table, version)


def test_what_is_written_while_a_table_is_read_makes_no_difference(lake):
    overtaken = Overtaken(lake.root)
    (found,) = parity(overtaken, "history/deal").findings
    assert found.what.startswith("3 rows by the log and both engines")
    assert lake.rows("history/deal") == 6
