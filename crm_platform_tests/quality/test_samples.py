"""What a day is compared with: exports one by one, days of history gathered until they say something."""

import datetime as dt

import polars as pl
import pytest

from crm_platform.lake import Lake
from crm_platform.quality.samples import days_of_samples
from crm_platform.quality.values import value_drift
from crm_platform_tests.quality.test_drift import DEAL
from crm_platform_tests.quality.test_lake_checks import fed

FIRST = dt.date(2026, 3, 1)


def on(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


@pytest.fixture
def lake(tmp_path) -> Lake:
    """An empty lake whose watermark stands at the end of 2026-03-19."""
    found = Lake(tmp_path)
    fed(found, (1, None, "10", True), reached="20 00:00")
    return found


def test_a_day_with_enough_rows_is_a_sample_and_so_are_the_seven_before_it():
    counts = {on(number): 120 for number in range(20)}
    assert days_of_samples(counts, on(19), 100) == [(on(number),) for number in range(19, 11, -1)]


def test_days_with_few_rows_are_gathered_going_back_and_what_is_left_over_is_no_sample():
    counts = {on(number): 40 for number in range(8)}
    assert days_of_samples(counts, on(7), 100) == [(on(5), on(6), on(7)), (on(2), on(3), on(4))]


def test_days_without_rows_are_passed_over():
    counts = {on(0): 100, on(3): 100, on(4): 60, on(9): 60}
    assert days_of_samples(counts, on(9), 100) == [(on(4), on(9)), (on(3),), (on(0),)]


def versions(lake: Lake, day: dt.date, stages: list[str], **told: object) -> None:
    """Versions of one day, each of a deal of its own."""
    at = dt.datetime.combine(day, dt.time(12), dt.UTC)
    schema = DEAL.history_schema
    shared = dict.fromkeys(schema) | {"event_time": at, "processed_time": at, "processed_date": day}
    shared |= {"is_tombstone": False, "owner_id": "mia", **told}
    rows = [
        shared | {"entity_id": f"{day}{n}", "id": f"{day}{n}", "source_position": f"{day}{n:05}", "stage": stage}
        for n, stage in enumerate(stages)
    ]
    lake.replace("history/deal", pl.DataFrame(rows, schema=schema), days=[day])


USUAL, TURNED = ["open", "won"] * 60, ["open"] * 20 + ["won"] * 100


def days_before(lake: Lake, days: int = 8) -> None:
    for number in range(days):
        versions(lake, on(number), USUAL)


def test_versions_of_a_day_are_held_against_those_of_the_days_before_where_there_are_no_exports(lake):
    days_before(lake)
    versions(lake, on(8), TURNED)
    found = value_drift(lake, DEAL, [on(7), on(8)], has_exports=False)
    assert (found.table, found.failed_days) == ("history/deal", [on(8)])
    assert found.findings[1].examples.select("measure").to_series().to_list() == ["psi stage"]


def test_a_sunday_that_is_like_the_last_one_is_not_told(lake):
    for number in range(14):
        versions(lake, on(number), TURNED if number % 7 == 0 else USUAL)
    versions(lake, on(14), TURNED)
    assert value_drift(lake, DEAL, [on(14)], has_exports=False).passed


def test_fields_that_versions_do_not_write_are_no_nulls_and_tombstones_no_rows(lake):
    for number in range(8):
        versions(lake, on(number), USUAL, amount=1)
    for silent in ({"changed_fields": ["stage"]}, {"changed_fields": [], "is_tombstone": True}):
        versions(lake, on(8), USUAL, **silent)
        assert value_drift(lake, DEAL, [on(8)], has_exports=False).passed
    versions(lake, on(8), USUAL)
    found = value_drift(lake, DEAL, [on(8)], has_exports=False)
    assert found.findings[0].examples.select("measure", "value").rows() == [("nulls amount", 1.0)]


def test_a_quiet_day_is_judged_with_those_before_it_and_says_so(lake):
    days_before(lake, 8)
    for number in range(8, 11):
        versions(lake, on(number), TURNED[:50])
    found = value_drift(lake, DEAL, [on(10)], has_exports=False)
    assert found.findings[0].facts["compared"] == "100 rows since 2026-03-10: this day alone has too few"


def test_a_day_of_history_that_is_not_over_is_not_judged(lake):
    days_before(lake)
    versions(lake, on(19), TURNED)
    assert value_drift(lake, DEAL, [on(19)], has_exports=False).findings == []
