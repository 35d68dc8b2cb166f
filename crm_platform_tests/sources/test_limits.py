"""The budget of requests and what Retry-After says, with a clock of our own."""

from datetime import UTC, datetime

import pytest

from crm_platform.sources.limits import RateBudget, retry_after_seconds
from crm_platform.sources.transport import Rate

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.at += seconds


def budget(time: Time, **rate) -> RateBudget:
    told = Rate(remaining_header="Left", reset_header="Reset", **rate)
    return RateBudget(told, longest=60.0, clock=time.clock, sleep=time.sleep)


def test_a_burst_goes_through_and_the_rest_is_paced():
    time = Time()
    paced = budget(time, requests_per_second=10.0, burst=3)
    for _ in range(5):
        paced.take()
    assert time.slept == [0.1, 0.1]


def test_a_pause_fills_the_burst_again_and_no_further():
    time = Time()
    paced = budget(time, requests_per_second=10.0, burst=2)
    paced.take()
    time.at += 100
    for _ in range(3):
        paced.take()
    assert time.slept == [0.1]


def test_when_nothing_remains_the_reset_is_waited_for():
    time = Time()
    paced = budget(time, reset="seconds")
    paced.learn({"Left": "0", "Reset": "7"}, wall=0)
    paced.take()
    assert time.slept == [7.0]


def test_a_reset_may_be_a_moment():
    time = Time()
    paced = budget(time, reset="epoch_seconds")
    paced.learn({"Left": "0", "Reset": "1700000009"}, wall=1_700_000_000)
    paced.take()
    assert time.slept == [9.0]


def test_a_reset_far_away_is_not_waited_for_longer_than_allowed():
    time = Time()
    paced = budget(time, reset="seconds")
    paced.learn({"Left": "0", "Reset": "86400"}, wall=0)
    paced.take()
    assert time.slept == [60.0]


@pytest.mark.parametrize("headers", [{}, {"Left": "0"}, {"Left": "3", "Reset": "7"}, {"Left": "some", "Reset": "7"}])
def test_headers_that_say_nothing_shut_nothing(headers):
    time = Time()
    paced = budget(time)
    paced.learn(headers, wall=0)
    paced.take()
    assert time.slept == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        ("0.5", 0.5),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("Sun, 01 Mar 2026 13:00:30 +0100", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after_seconds(header, now=NOW) == seconds
