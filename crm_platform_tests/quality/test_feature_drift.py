"""Features of a week against those of four weeks before: only news counts, and what chance could do is not told."""

import datetime as dt

import polars as pl
import pytest

from crm_platform.contracts import UTC_US
from crm_platform.lake import Lake
from crm_platform.quality.feature_drift import feature_drift

FIRST = dt.date(2026, 3, 1)
SCHEMA = pl.Schema(
    {
        "entity_id": pl.String(),
        "known_at": UTC_US,
        "changed_at": UTC_US,
        "is_deleted": pl.Boolean(),
        "count_7d": pl.Int64(),
        "status": pl.String(),
        "last_at": UTC_US,
        "known_date": pl.Date(),
    }
)


def on(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def steps(lake: Lake, number: int, *, rows: int = 100, more: int = 0, status: str = "new", old: int = 0) -> None:
    """A day of steps with counts from 0 to 9, more or less, and two stages; some steps are older news told again."""
    at = dt.datetime.combine(on(number), dt.time(12), dt.UTC)
    told = [
        {
            "entity_id": str(n),
            "known_at": at,
            "changed_at": at if n >= old else at - dt.timedelta(days=3),
            "is_deleted": False,
            "count_7d": n % 10 + more,
            "status": status if n % 2 else "working",
            "last_at": at,
            "known_date": on(number),
        }
        for n in range(rows)
    ]
    lake.replace("features/lead", pl.DataFrame(told, schema=SCHEMA), days=[on(number)])


def moved(lake: Lake, *numbers: int) -> dict[dt.date, dict[str, float]]:
    return feature_drift(lake, "features/lead", SCHEMA, [on(number) for number in numbers])


def test_a_week_like_that_of_four_weeks_before_has_not_moved_and_moments_are_no_feature(lake):
    for number in range(35):
        steps(lake, number)
    assert moved(lake, 34) == {on(34): {"count_7d": 0.0, "status": 0.0}}


def test_before_there_is_a_whole_week_to_compare_with_nothing_is_said(lake):
    for number in range(35):
        steps(lake, number)
    assert moved(lake, 32, 33) == {}


def test_a_feature_that_moved_is_told_alone_and_more_from_day_to_day(lake):
    for number in range(37):
        steps(lake, number, more=5 if number > 34 else 0)
    told = moved(lake, 34, 35, 36)
    assert [day["status"] for day in told.values()] == [0.0, 0.0, 0.0]
    assert [day["count_7d"] for day in told.values()] == [0.0, 0.0495, 0.1748]


def test_steps_without_news_do_not_count(lake):
    for number in range(35):
        steps(lake, number, more=5 if number > 27 else 0, old=100 if number > 27 else 0)
    assert moved(lake, 34) == {}


def test_samples_that_are_that_far_apart_by_chance_are_not_told(lake):
    for number in range(35):
        steps(lake, number, rows=40)
    assert moved(lake, 34) == {on(34): {"status": 0.0}}
