"""A day's changes against the same weekday of the weeks before: leaps are told, weekends and small numbers are not."""

import datetime as dt

import polars as pl
import pytest

from crm_platform.lake import Lake
from crm_platform.quality.volume import volume
from crm_platform_tests.quality.test_drift import DEAL
from crm_platform_tests.quality.test_lake_checks import fed

FIRST = dt.date(2026, 2, 1)
"""A Sunday; the watermark stands at the end of 2026-03-07, a Saturday: five weeks."""
LAST = dt.date(2026, 3, 7)
THURSDAY = dt.date(2026, 3, 5)


def land(lake: Lake, day: dt.date, rows: int) -> None:
    at = dt.datetime.combine(day, dt.time(12), dt.UTC)
    shared = dict.fromkeys(DEAL.change_schema) | {"event_time": at, "processed_time": at, "processed_date": day}
    told = [shared | {"entity_id": str(n), "id": str(n)} for n in range(rows)]
    lake.append("landing/changes/deal", pl.DataFrame(told, schema=DEAL.change_schema), token=str(day))


def landed(lake: Lake, *, week: int = 400, weekend: int = 100, **odd: int):
    """Five weeks of changes, some days unlike the others; 03-05 is written d0305."""
    for number in range((LAST - FIRST).days + 1):
        day = FIRST + dt.timedelta(days=number)
        land(lake, day, odd.get(f"d{day:%m%d}", weekend if day.weekday() >= 5 else week))
    fed(lake, (1, None, "10", True), reached="08 00:00")
    return volume(lake, DEAL, [FIRST + dt.timedelta(days=n) for n in range((LAST - FIRST).days + 1)])


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def test_weekdays_and_weekends_are_each_like_the_last_ones(lake):
    found = landed(lake)
    assert (found.check, found.table, found.severity, found.passed) == ("volume", "landing/changes/deal", "warn", True)
    assert found.findings[-1].what == "100 changes; 100 on the nearest of the last 4 Saturdays."


def test_the_first_two_weeks_are_told_to_be_no_reference(lake):
    told = [(finding.what, finding.facts.get("warming_up")) for finding in landed(lake).findings]
    assert told[0] == ("100 changes, not judged yet: 0 of 2 such weekdays before it.", True)
    assert told[13] == ("100 changes, not judged yet: 1 of 2 such weekdays before it.", True)
    assert told[14] == ("100 changes; 100 on the nearest of the last 2 Sundays.", None)


def test_a_day_that_brings_nothing_is_told_with_what_it_used_to_bring(lake):
    found = landed(lake, d0305=0)
    assert found.failed_days == [THURSDAY]
    assert "0 changes, under 1/2 of the 400 of the nearest of the last 4 Thursdays." in found.summary()
    assert (found.failing, found.findings[-3].total) == (400, 400)


def test_a_thursday_like_a_sunday_is_told(lake):
    assert landed(lake, d0305=100).failed_days == [THURSDAY]


def test_three_times_as_many_are_told_and_half_as_many_again_are_not(lake):
    found = landed(lake, d0305=1200, d0306=600)
    assert found.failed_days == [THURSDAY]
    assert "1,200 changes, over 2 times the 400 of the nearest of the last 4 Thursdays." in found.summary()


def test_a_week_after_a_leap_the_days_are_again_like_the_weeks_before_it(lake):
    assert landed(lake, d0226=0).failed_days == [dt.date(2026, 2, 26)]


def test_a_growing_crm_is_near_its_last_week(lake):
    more = {f"d{FIRST + dt.timedelta(days=n):%m%d}": 100 + 20 * n for n in range(35)}
    assert landed(lake, **more).passed


def test_small_numbers_are_not_judged(lake):
    assert landed(lake, week=20, weekend=5, d0305=90, d0306=0).passed


def test_a_day_that_is_not_over_is_not_judged(lake):
    landed(lake)
    land(lake, dt.date(2026, 3, 8), 3)
    found = volume(lake, DEAL, [dt.date(2026, 3, 8)])
    assert found.findings[0].what == "3 changes, not judged yet: the day is not over."


def test_nothing_that_ever_landed_is_no_finding_of_a_fault(lake):
    assert volume(lake, DEAL, [FIRST]).passed
