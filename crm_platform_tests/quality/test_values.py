"""What exports hold is compared with the seven before: what moved is named with its figures, what is too small is not judged."""

import base64
import datetime as dt
import re

import polars as pl
import pytest

from crm_platform.lake import Lake
from crm_platform.quality.values import value_drift
from crm_platform_tests.quality.test_drift import DEAL, NOON

DAYS = [dt.date(2026, 3, day) for day in range(1, 9)]
LAST = DAYS[-1]


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


def after(lake: Lake, odd: pl.DataFrame, rows: int = 400):
    """The check of the eighth day, after seven usual ones."""
    for day in DAYS[:-1]:
        land(lake, day, usual(rows))
    land(lake, LAST, odd)
    return value_drift(lake, DEAL, DAYS)


def told(found) -> list[tuple[str, float]]:
    return found.findings[-1].examples.select("measure", "value").rows()


def lost(share: int) -> pl.Expr:
    """Every so many deals stand at a stage that no deal ever stood at."""
    return pl.when(pl.int_range(pl.len()) % share == 0).then(pl.lit("lost")).otherwise("stage").alias("stage")


def test_exports_that_stay_as_they_were_pass_and_the_first_week_is_told_to_be_no_reference(lake):
    found = after(lake, usual(410))
    assert (found.passed, found.severity) == (True, "warn")
    told = [finding.what for finding in found.findings]
    assert told[0] == (
        "Warming up, nothing is judged yet: 0 exports before this day (none before it); "
        "at least 3 that reach back 7 days are needed."
    )
    assert told[6] == (
        "Warming up, nothing is judged yet: 6 exports before this day (back to 2026-03-01); "
        "at least 3 that reach back 7 days are needed."
    )
    assert told[7] == "None of 8 measures is over its limit."
    assert [finding.facts.get("warming_up") for finding in found.findings] == [True] * 7 + [None]
    assert found.findings[6].facts["samples_before"] == 6


def test_three_exports_that_reach_back_a_week_are_a_reference(lake):
    for day in (1, 4, 6):
        land(lake, dt.date(2026, 3, day), usual())
    land(lake, dt.date(2026, 3, 8), usual().with_columns(pl.col("amount") * 10))
    assert [name for name, _ in told(value_drift(lake, DEAL, [dt.date(2026, 3, 8)]))] == ["psi amount"]


def test_shares_of_categories_that_move_are_told_with_the_index(lake):
    """From a half and a half to three quarters and one: 0.2746531."""
    stage = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("won")).otherwise(pl.lit("open"))
    found = after(lake, usual().with_columns(stage=stage))
    assert found.failed_days == [LAST]
    assert told(found) == [("psi stage", 0.2747)]
    assert "psi stage is 0.275, and 0.25 is allowed." in found.summary()


def test_the_same_shift_of_a_hundred_rows_is_left_to_chance(lake):
    for day in DAYS[:-1]:
        land(lake, day, usual(100))
    stage = pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("won")).otherwise(pl.lit("open"))
    land(lake, LAST, usual(100).with_columns(stage=stage))
    assert value_drift(lake, DEAL, DAYS).passed


def test_numbers_that_grow_tenfold_are_told(lake):
    found = after(lake, usual().with_columns(pl.col("amount") * 10))
    assert [name for name, _ in told(found)] == ["psi amount"]


def test_nulls_that_come_are_told_with_both_rates(lake):
    found = after(lake, usual().with_columns(amount=pl.when(pl.col("stage") == "open").then("amount")))
    assert ("nulls amount", 0.5) in told(found)
    details = dict(found.findings[-1].examples.select("measure", "detail").rows())
    assert details["nulls amount"] == "10.0% before, 60.0% now"


def test_a_young_crm_whose_nulls_fall_from_day_to_day_is_not_told_and_a_leap_of_the_same_size_is(lake):
    """From nine tenths down by six hundredths a day: far from the mean of the week, near the day before."""
    for number, day in enumerate(DAYS):
        filled = pl.int_range(pl.len()) % 100 < 10 + 6 * number
        land(lake, day, usual().with_columns(amount=pl.when(filled).then(pl.lit(1).cast(pl.Decimal(18, 2)))))
    assert value_drift(lake, DEAL, DAYS).passed
    filled = pl.int_range(pl.len()) % 100 < 94
    leap = usual().with_columns(amount=pl.when(filled).then(pl.lit(1).cast(pl.Decimal(18, 2))))
    land(lake, dt.date(2026, 3, 9), leap)
    assert told(value_drift(lake, DEAL, [dt.date(2026, 3, 9)])) == [("nulls amount", 0.42)]


def test_an_export_that_is_as_it_was_before_a_faulty_one_passes(lake):
    after(lake, usual().with_columns(pl.col("amount") * 10))
    land(lake, dt.date(2026, 3, 9), usual())
    assert value_drift(lake, DEAL, [dt.date(2026, 3, 9)]).passed


def test_a_declared_value_never_seen_before_is_told_with_its_rows(lake):
    found = after(lake, usual(1000).with_columns(lost(25)), rows=1000)
    assert told(found) == [("new values stage", 0.04)]
    assert "new values stage is 0.04, and 0.026 is allowed (lost)." in found.summary()
    assert (found.failing, found.findings[-1].total) == (40, 1000)


def test_a_first_few_rows_of_a_declared_value_are_what_a_young_crm_has(lake):
    assert after(lake, usual().with_columns(lost(40))).passed


def test_more_than_half_as_many_rows_again_are_told(lake):
    found = after(lake, pl.concat([usual(), usual(450).with_columns(id=pl.lit("y") + pl.col("id"))]))
    assert told(found) == [("rows", 1.125)]
    assert "400 rows before, 850 now" in found.summary()


def test_an_export_of_a_few_rows_that_had_hundreds_is_told(lake):
    found = after(lake, usual(40))
    assert told(found) == [("rows", 0.9)]
    assert "400 rows before, 40 now" in found.summary()


def changes(lake: Lake, day: dt.date, *late: dt.timedelta) -> None:
    at = dt.datetime.combine(day, dt.time(12), dt.UTC)
    schema = DEAL.change_schema
    rows = [
        dict.fromkeys(schema)
        | {"entity_id": str(n), "id": str(n), "event_time": at - by, "processed_time": at}
        | {"processed_date": day}
        for n, by in enumerate(late)
    ]
    lake.append("landing/changes/deal", pl.DataFrame(rows, schema=schema), token=f"c{day}")


SOON, NINE_HOURS = dt.timedelta(minutes=5), dt.timedelta(hours=9)


def test_changes_that_come_later_than_they_used_to_are_told(lake):
    for day in DAYS[:-1]:
        changes(lake, day, *[SOON] * 20)
    changes(lake, LAST, *[SOON] * 14, *[NINE_HOURS] * 6)
    found = after(lake, usual())
    assert told(found) == [("late changes", 0.3)]
    assert "6 of 20 changes over 1:05:00 late; p99 0:05:00 before, 9:00:00 now" in found.summary()
    assert found.failing == 6


def test_two_late_ones_of_the_three_changes_of_a_day_say_nothing(lake):
    for day in DAYS[:-1]:
        changes(lake, day, *[SOON] * 3)
    changes(lake, LAST, SOON, NINE_HOURS, NINE_HOURS)
    assert after(lake, usual()).passed


def test_the_picture_shows_the_days_before_too_and_names_columns_but_no_value(lake):
    found = after(lake, usual().with_columns(lost(10)))
    encoded = re.search(r"base64,([^)]+)\)", found.findings[-1].facts["picture"].text).group(1)
    svg = base64.b64decode(encoded).decode()
    assert "2026-03-02 … 2026-03-08" in svg
    assert "psi amount" in svg
    assert not any(value in svg for value in ("lost", "mia", ">won<"))
    assert found.facts["picture"].text.startswith("![deal: distance from the nearest of the 7 samples before")


def test_a_range_and_single_days_say_the_same(lake):
    whole = after(lake, usual().with_columns(pl.col("amount") * 10))
    single = value_drift(lake, DEAL, [LAST])
    assert single.findings[0].what == whole.findings[7].what
    assert single.findings[0].examples.equals(whole.findings[7].examples)
