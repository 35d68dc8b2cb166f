"""Red partitions: held, asked for, mended."""

from datetime import UTC, date, datetime

from crm_platform.lake import Lake, first_red_day, hold, red_days, red_partitions, release

DAY, NEXT = date(2026, 3, 5), date(2026, 3, 6)
MORNING, NOON = datetime(2026, 3, 7, 6, tzinfo=UTC), datetime(2026, 3, 7, 12, tzinfo=UTC)
SNAPSHOT = "landing/snapshot/account"


def test_nothing_is_red_in_an_empty_lake(tmp_path):
    lake = Lake(tmp_path)
    assert (red_partitions(lake), red_days(lake, SNAPSHOT), first_red_day(lake, [SNAPSHOT])) == ([], [], None)
    assert release(lake, SNAPSHOT, [DAY]) == []
    assert lake.exists("gate/red") is False


def test_a_held_day_is_red_since_then_and_a_second_failure_changes_nothing(tmp_path):
    lake = Lake(tmp_path)
    assert hold(lake, SNAPSHOT, DAY, "drift", "name removed", since=MORNING) is True
    assert hold(lake, SNAPSHOT, DAY, "drift", "name removed", since=NOON) is False
    assert lake.version("gate/red") == 0
    (red,) = red_partitions(lake)
    assert (red.asset, red.day, red.check, red.since, red.detail) == (SNAPSHOT, DAY, "drift", MORNING, "name removed")


def test_a_day_is_well_when_every_check_says_so(tmp_path):
    lake = Lake(tmp_path)
    hold(lake, SNAPSHOT, DAY, "drift", "name removed", since=MORNING)
    hold(lake, SNAPSHOT, DAY, "volume", "no rows", since=MORNING)
    assert release(lake, SNAPSHOT, [DAY, NEXT], "drift", resolved_at=NOON) == [DAY]
    assert red_days(lake, SNAPSHOT) == [DAY]
    assert release(lake, SNAPSHOT, [DAY], resolved_at=NOON) == [DAY]
    assert red_days(lake, SNAPSHOT) == []


def test_a_release_of_what_is_not_red_writes_nothing(tmp_path):
    lake = Lake(tmp_path)
    hold(lake, SNAPSHOT, DAY, "drift", "x", since=MORNING)
    assert release(lake, SNAPSHOT, [NEXT]) == []
    assert release(lake, "history/account", [DAY]) == []
    assert lake.version("gate/red") == 0


def test_a_day_can_turn_red_again(tmp_path):
    lake = Lake(tmp_path)
    hold(lake, SNAPSHOT, DAY, "drift", "first", since=MORNING)
    release(lake, SNAPSHOT, [DAY], "drift", resolved_at=NOON)
    assert hold(lake, SNAPSHOT, DAY, "drift", "second", since=NOON) is True
    assert [red.detail for red in red_partitions(lake)] == ["second"]
    assert release(lake, SNAPSHOT, [DAY], "drift") == [DAY]
    assert red_days(lake, SNAPSHOT) == []


def test_the_first_red_day_is_that_of_the_asked_tables(tmp_path):
    lake = Lake(tmp_path)
    hold(lake, SNAPSHOT, NEXT, "drift", "x")
    hold(lake, "history/lead", DAY, "gap", "x")
    assert first_red_day(lake, [SNAPSHOT, "history/account"]) == NEXT
    assert first_red_day(lake, [SNAPSHOT, "history/lead"]) == DAY
