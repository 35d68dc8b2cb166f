import datetime as dt

import polars as pl
import pytest

from crm_platform.features import with_keyframes
from crm_platform.features.known import TimelineError
from crm_platform_tests.features.timeline_rows import US, UTC_US, at

BEGIN, END = at(1), dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
APRIL, MAY = at(32), at(62)


def steps(*rows):
    schema = {"entity_id": pl.String, "known_at": UTC_US, "changed_at": UTC_US, "is_deleted": pl.Boolean, "n": pl.Int64}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def test_every_entity_is_repeated_at_the_start_of_every_month_the_dead_included():
    framed = with_keyframes(steps(("A", at(5), at(5), False, 1), ("B", at(40), at(40), True, 2)), BEGIN, END)
    assert framed.collect().rows() == [
        ("A", at(5), at(5), False, 1),
        ("A", APRIL, at(5), False, 1),
        ("A", MAY, at(5), False, 1),
        ("B", at(40), at(40), True, 2),
        ("B", MAY, at(40), True, 2),
    ]


def test_a_step_at_the_very_instant_is_one_row():
    framed = with_keyframes(steps(("A", at(5), at(5), False, 1), ("A", APRIL, APRIL, False, 2)), BEGIN, MAY).collect()
    assert framed.rows() == [("A", at(5), at(5), False, 1), ("A", APRIL, APRIL, False, 2)]


@pytest.mark.parametrize(("step", "shown"), [(APRIL - US, 2), (APRIL + US, 1)])
def test_a_step_a_microsecond_beside_the_instant_decides_what_is_repeated(step, shown):
    framed = with_keyframes(steps(("A", at(5), at(5), False, 1), ("A", step, step, False, 2)), BEGIN, MAY).collect()
    assert framed.filter(pl.col("known_at") == APRIL)["n"].to_list() == [shown]
    assert framed.height == 3


@pytest.mark.parametrize(("since", "until", "frames"), [(APRIL, MAY, 1), (APRIL + US, MAY, 0), (APRIL, MAY + US, 2)])
def test_keyframes_lie_in_the_window_and_come_from_what_is_carried(since, until, frames):
    carried = steps(("A", at(5), at(5), False, 1))
    framed = with_keyframes(steps(), since, until, carried).collect()
    assert framed.rows() == [("A", moment, at(5), False, 1) for moment in (APRIL, MAY)[:frames]]


def test_a_window_of_another_time_zone_or_none_is_refused():
    with pytest.raises(TimelineError, match="until 2026-05-01T00:00:00 has no time zone"):
        with_keyframes(steps(), BEGIN, dt.datetime(2026, 5, 1))  # noqa: DTZ001
