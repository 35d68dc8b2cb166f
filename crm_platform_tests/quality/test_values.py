"""What exports hold is compared with the seven before: what moved is named with its figures, what is too small is not judged."""

import base64
import datetime as dt
import re

import polars as pl
import pytest

from crm_platform.lake import Lake
from crm_platform.quality.values import value_drift
from crm_platform_tests.quality.test_drift import DEAL, NOON

WEEK = [dt.date(2026, 3, day) for day in range(1, 6)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def usual(rows: int = 400) -> pl.DataFrame:
    """Deals of which half are open and half won, a tenth without an amount."""
    number = pl.int_range(rows, eager=True)
    return pl.DataFrame({"number": number}).select(
        id=pl.col("number").cast(pl.String),
        stage=pl.when(pl.col("number") % 2 == 0).then(pl.lit("open")).otherwise(pl.lit("won")),
        amount=pl.when(pl.col("number") % 10 != 0).then(pl.col("number") % 100).cast(pl.Decimal(18, 2)),
        owner_id=pl.lit("mia"),
        probability=(pl.col("number") % 7).cast(pl.Int64),
    )


def land(lake: Lake, day: dt.date, frame: pl.DataFrame) -> None:
    missing = [pl.lit(None, dtype=t).alias(n) for n, t in DEAL.snapshot_schema.items() if n not in frame.columns]
    told = frame.with_columns(missing).with_columns(
        entity_id="id", snapshot_date=pl.lit(day), started_at=NOON, finished_at=NOON, _complete=pl.lit(value=True)
    )
    lake.append(
        "landing/snapshot/deal",
        told.select(DEAL.snapshot_schema.names()).cast(dict(DEAL.snapshot_schema)),
        token=str(day),
    )  # pyright: ignore[reportArgumentType]


def after(lake: Lake, odd: pl.DataFrame):
    """The check of the fifth day, after four usual ones."""
    for day in WEEK[:4]:
        land(lake, day, usual())
    land(lake, WEEK[4], odd)
    return value_drift(lake, DEAL, WEEK)


def told(found) -> list[tuple[str, float]]:
    return found.findings[-1].examples.select("measure", "value").rows()


def test_exports_that_stay_as_they_were_pass_and_the_first_ones_have_nothing_to_be_held_against(lake):
    found = after(lake, usual(410))
    assert (found.passed, found.severity) == (True, "warn")
    assert [finding.what for finding in found.findings] == [
        "Too little to compare: 400 rows, 0 in 0 exports before.",
        "Too little to compare: 400 rows, 400 in 1 exports before.",
        "Too little to compare: 400 rows, 800 in 2 exports before.",
        "None of 8 measures is over its limit.",
        "None of 8 measures is over its limit.",
    ]


def test_shares_of_categories_that_move_are_told_with_the_index(lake):
    """From a half and a half to three quarters and one: 0.2746531."""
    stage = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("won")).otherwise(pl.lit("open"))
    found = after(lake, usual().with_columns(stage=stage))
    assert found.failed_days == [WEEK[4]]
    assert told(found) == [("psi stage", 0.2747)]
    assert "psi stage is 0.275, and 0.25 is allowed." in found.summary()


def test_numbers_that_grow_tenfold_are_told(lake):
    found = after(lake, usual().with_columns(pl.col("amount") * 10))
    assert [name for name, _ in told(found)] == ["psi amount"]


def test_nulls_that_come_are_told_with_both_rates(lake):
    found = after(lake, usual().with_columns(amount=pl.when(pl.col("stage") == "open").then("amount")))
    assert ("nulls amount", 0.5) in told(found)
    details = dict(found.findings[-1].examples.select("measure", "detail").rows())
    assert details["nulls amount"] == "10.0% before, 60.0% now"


def test_a_declared_value_never_seen_before_is_told_with_its_rows(lake):
    lost = pl.when(pl.col("id") == "7").then(pl.lit("lost")).otherwise("stage").alias("stage")
    found = after(lake, usual().with_columns(lost))
    assert told(found) == [("new values stage", 1.0)]
    assert (found.failing, found.findings[-1].total) == (1, 400)
    assert "(lost)" in found.summary()


def test_more_than_twice_the_rows_are_told(lake):
    found = after(lake, pl.concat([usual(), usual(450).with_columns(id=pl.lit("y") + pl.col("id"))]))
    assert told(found) == [("volume", 1.125)]
    assert "400 rows before, 850 now" in found.summary()


def changes(lake: Lake, day: dt.date, late: dt.timedelta) -> None:
    at = dt.datetime.combine(day, dt.time(12), dt.UTC)
    row = {"entity_id": "1", "event_time": at - late, "processed_time": at, "processed_date": day, "id": "1"}
    schema = DEAL.change_schema
    lake.append("landing/changes/deal", pl.DataFrame([dict.fromkeys(schema) | row], schema=schema), token=f"c{day}")


def test_changes_that_come_later_than_they_used_to_are_told(lake):
    for day in WEEK[:4]:
        changes(lake, day, dt.timedelta(minutes=5))
    changes(lake, WEEK[4], dt.timedelta(hours=9))
    found = after(lake, usual())
    assert told(found) == [("lateness in hours", 9.0)]
    assert "p99 0:05:00 before, 9:00:00 now" in found.summary()


def test_the_picture_shows_the_days_before_too_and_names_columns_but_no_value(lake):
    lost = pl.when(pl.col("id") == "7").then(pl.lit("lost")).otherwise("stage").alias("stage")
    found = after(lake, usual().with_columns(lost))
    encoded = re.search(r"base64,([^)]+)\)", found.findings[-1].facts["picture"].text).group(1)
    svg = base64.b64decode(encoded).decode()
    assert "2026-03-01 … 2026-03-05" in svg
    assert "psi amount" in svg
    assert not any(value in svg for value in ("lost", "mia", ">won<"))
    assert found.facts["picture"].text.startswith("![deal: how far values are")


def test_a_range_and_single_days_say_the_same(lake):
    whole = after(lake, usual().with_columns(pl.col("amount") * 10))
    single = value_drift(lake, DEAL, [WEEK[4]])
    assert single.findings[0].what == whole.findings[4].what
    assert single.findings[0].examples.equals(whole.findings[4].examples)
