"""Increments from the few activities that are carried, and those that are looked up, equal building at once."""

import datetime as dt

import polars as pl
import pytest

from crm_platform.features import (
    Attribute,
    Count,
    Distinct,
    FeatureView,
    First,
    Last,
    Max,
    Min,
    Recency,
    Sum,
    build_timeline,
)
from crm_platform.features.carrying import activities_that_matter, keys_at_risk, left_out, still_open
from crm_platform.history.living import living, living_links
from crm_platform_tests.features.brute_force import MICROSECOND
from crm_platform_tests.features.histories import START, frames, lives

DAY = dt.timedelta(days=1)
FINITE = [
    Count(window="2d"),
    Sum("minutes", window="3d"),
    Distinct("channel", window="12h"),
    Min("amount", window="1d"),
]
TIMELY = [*FINITE, First("channel"), Last("channel"), Recency()]
EXTREME = [Count(window="12h"), Max("minutes"), Min("channel")]
VIEWS = {"finite": FINITE, "timely": TIMELY, "extreme": EXTREME, "last": [Last("amount")], "sums": [Sum("minutes")]}


def recorded(rows, until, since=None):
    inside = pl.col("processed_time") < until
    return rows.filter(inside if since is None else inside & (pl.col("processed_time") >= since))


def carried_in(view, activities, moment, window, asked):
    """What a closing state at a moment, the rows since, and looking up what is asked for come to."""
    past, since = recorded(activities, moment), recorded(activities, window[1], moment)
    closing = activities_that_matter(view, past, moment - MICROSECOND)
    touched = since["entity_id"].unique()
    cold = left_out(closing, still_open(since, moment, window[0]))
    keys = keys_at_risk(view, closing, touched, moment - MICROSECOND)
    named = past.filter(pl.col(view.key).is_in(keys.implode()))["entity_id"]
    looked_up = past.filter(pl.col("entity_id").is_in(pl.concat([cold, named]).implode()))
    asked["closing"] += closing.height
    asked["past"] += past.height
    asked["cold"] += looked_up.height
    asked["keys"] += len(keys)
    return pl.concat([closing, since.select(closing.columns), looked_up.select(closing.columns)])


@pytest.mark.parametrize("hours", [12, 30])
@pytest.mark.parametrize("name", list(VIEWS))
def test_increments_from_closing_states_equal_building_at_once(name, hours):
    activities, merges, versions = frames(lives(20_000, 120))
    view = FeatureView(
        name=name,
        entity="account",
        key="account_id",
        features=[Attribute("stage", since=True), *VIEWS[name]],
    )
    begin, width, asked = (
        START - 2 * DAY,
        dt.timedelta(hours=hours),
        dict.fromkeys(("closing", "past", "cold", "keys"), 0),
    )
    built = build_timeline(view, recorded(activities, begin), merges, versions=versions, until=begin).collect()
    for n in range(int(20 * DAY / width)):
        since = begin + n * width
        state = since - n % 4 * width
        steps = build_timeline(
            view,
            carried_in(view, activities, state, (since, since + width), asked),
            living_links(merges, since - MICROSECOND),
            versions=living(versions, since - MICROSECOND, ["stage"]),
            since=since,
            until=since + width,
            closing=built.group_by("entity_id", maintain_order=True).last(),
        ).collect()
        built = pl.concat([built, steps]).sort("entity_id", "known_at")
    whole = build_timeline(view, activities, merges, versions=versions, until=since + width).collect()
    assert built.equals(whole)
    if name != "sums":
        assert asked["closing"] < asked["past"] * 0.6
        assert asked["cold"] > 0
    assert (asked["keys"] > 0) == (name not in {"finite", "sums"})


def acts(*told):
    """Full images of one account's activities: id, day of the edit, day on which it took place, whether it is deleted."""
    return pl.DataFrame(
        [
            {
                "entity_id": name,
                "event_time": START + edited * DAY,
                "processed_time": START,
                "source_position": f"{number}",
                "is_tombstone": is_gone,
                "changed_fields": None,
                "account_id": None if is_gone else "a",
                "occurred_at": None if is_gone else START + took_place * DAY,
                "channel": name,
            }
            for number, (name, edited, took_place, is_gone) in enumerate(told)
        ],
        schema_overrides={
            "changed_fields": pl.List(pl.String),
            "event_time": pl.Datetime("us", "UTC"),
            "processed_time": pl.Datetime("us", "UTC"),
            "occurred_at": pl.Datetime("us", "UTC"),
        },
    )


LAST = FeatureView(name="last", entity="account", key="account_id", features=[Last("channel")])
OLD = [("x", 0, -9, False), ("y", 0, -8, False), ("z", 0, -7, False)]


def test_a_third_activity_is_cold_until_both_before_it_are_touched():
    carried = activities_that_matter(LAST, acts(*OLD), START)
    assert carried["entity_id"].to_list() == ["y", "z"]
    for touched, keys in ((["z"], []), (["y", "z"], ["a"]), (["x", "n"], [])):
        assert keys_at_risk(LAST, carried, pl.Series(touched), START).to_list() == keys
    assert left_out(carried, pl.Series(["x", "z", "n"])).to_list() == ["x", "n"]


def test_a_version_that_becomes_known_later_touches_its_activity_though_it_was_recorded_before():
    planned = [("y", 3, 0, True), ("z", 4, 0, True)]
    carried = activities_that_matter(LAST, acts(*OLD, *planned), START)
    nobody = pl.Series([], dtype=pl.String)
    assert carried["entity_id"].to_list() == ["y", "y", "z", "z"]
    assert keys_at_risk(LAST, carried, nobody, START).to_list() == ["a"]
