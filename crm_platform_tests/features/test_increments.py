"""Timelines in the lake, day by day from what is carried, beside the same built at once from the whole past.

Rows come late, dated ahead, re-keyed, retracted, merged and unmerged; three months pass, so that closing states are made,
used and passed over.
"""

import datetime as dt
import random

import polars as pl
import pytest

from crm_platform.contracts import MERGES, Contract, Moment, Money, ObjectModel, Text, field
from crm_platform.features import Attribute, Count, Distinct, FeatureView, First, Last, Recency, Sum, with_keyframes
from crm_platform.features.build import build_features, stale_from
from crm_platform.features.catalogue import BoundView
from crm_platform.features.timelines import build_timeline
from crm_platform.lake import Lake, compact
from crm_platform_tests.features.histories import START, frames, lives
from crm_platform_tests.features.scenario import MANIFEST, US, days

STRETCH = 12
"""The histories' six days become seventy-two."""


class Account(ObjectModel):
    """What is asked about."""

    id: Text = field("Its id.", key=True)
    stage: Text = field("How far it is.", nullable=True)


class Act(ObjectModel):
    """What is counted."""

    id: Text = field("Its id.", key=True)
    account_id: Text = field("Whose it is.", nullable=True)
    occurred_at: Moment = field("When it took place.", nullable=True)
    channel: Text = field("How.", nullable=True)
    amount: Money = field("For how much.", nullable=True)


CONTRACTS = {"account": Contract("made", "account", Account), "act": Contract("made", "act", Act)}
WINDOWS = [Count(window="12d"), Sum("amount", window="30d"), Distinct("channel", window="6d")]
VIEWS = {
    "windows": WINDOWS,
    "champions": [*WINDOWS, First("channel"), Last("amount"), Recency()],
}


def bound(name):
    view = FeatureView(
        name=name, entity="account", key="account_id", features=[Attribute("stage", since=True), *VIEWS[name]]
    )
    told = dict.fromkeys(
        view.columns, tuple(("act", name) for name in ("account_id", "occurred_at", "channel", "amount"))
    )
    return BoundView(name, view, "account", "act", told | {"stage": (("account", "stage"),)}, {})


def stretched(rows):
    times = [name for name, dtype in rows.schema.items() if dtype == pl.Datetime("us", "UTC")]
    return rows.with_columns((START + (pl.col(name) - START) * STRETCH).alias(name) for name in times).with_columns(
        pl.col("processed_time").dt.date().alias("processed_date")
    )


class World:
    """A history that arrives day by day, a tenth of it days late."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        activities, merges, versions = (stretched(rows) for rows in frames(lives(30_000 + 100 * seed, 25)))
        self.tables = {
            "history/act": self.arriving(activities, CONTRACTS["act"].history_schema),
            "history/account": self.arriving(versions, CONTRACTS["account"].history_schema),
            "history/merges": self.arriving(merges.with_columns(pl.lit("account").alias("object")).unique(), MERGES),
        }
        self.first = min(rows["processed_date"].min() for rows in self.tables.values())
        self.last = max(rows["arrival"].max() for rows in self.tables.values())

    def arriving(self, rows, schema):
        late = [self.random.choice([0] * 9 + [self.random.randint(1, 40)]) for _ in range(rows.height)]
        absent = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
        typed = rows.with_columns(absent).select(list(schema)).cast(dict(schema))
        return typed.with_columns((pl.col("processed_date") + pl.duration(days=pl.Series(late))).alias("arrival"))

    def arrive(self, lake, day):
        """Makes history hold what has arrived by a day; only the days that change are written."""
        for table, rows in self.tables.items():
            found = rows.filter(pl.col("arrival") <= day).drop("arrival")
            held = lake.rows_by_day(table)
            counted = dict(found.group_by("processed_date").len().iter_rows())
            changed = [one for one, rows_then in counted.items() if held.get(one) != rows_then]
            lake.replace(table, found.filter(pl.col("processed_date").is_in(changed)), days=changed)

    def at_once(self, view, watermark):
        """The timeline by the kernel alone, keyframes included."""
        read = {
            table: rows.filter(pl.col("arrival") <= watermark.date(), pl.col("processed_date") <= watermark.date())
            for table, rows in self.tables.items()
        }
        since, until = dt.datetime.combine(self.first, dt.time(), dt.UTC), watermark + US
        steps = build_timeline(
            view,
            read["history/act"],
            read["history/merges"],
            versions=read["history/account"],
            since=since,
            until=until,
        )
        return with_keyframes(steps, since, until).collect()


def noon(day):
    return dt.datetime.combine(day, dt.time(12), dt.UTC)


def tick(lake, view, world, day, last):
    """What a run over some days does: begins where something came since, and builds on."""
    watermark = noon(last)
    stale = stale_from(lake, CONTRACTS, view, watermark=watermark)
    begin = max(min(filter(None, (stale, day))), world.first)
    said = []
    build_features(
        lake,
        MANIFEST,
        CONTRACTS,
        view,
        days(begin, last),
        watermark=watermark,
        first_day=world.first,
        progress=said.append,
    )
    return begin, said[0]


def stored(lake, view):
    return lake.scan(f"features/{view.name}").drop("known_date").sort("entity_id", "known_at").collect()


@pytest.mark.parametrize(("name", "seed"), [("windows", 1), ("champions", 2)])
def test_day_by_day_is_at_once_whatever_comes_late(tmp_path, name, seed):
    lake, world, view = Lake(tmp_path), World(seed), bound(name)
    day, earlier, increments = world.first, 0, 0
    while day < world.last:
        wide = (START.date() - day).days + 8 if day == world.first else world.random.choice([0, 4, 9, 14])
        last = min(day + dt.timedelta(days=wide), world.last)
        world.arrive(lake, last)
        begin, said = tick(lake, view, world, day, last)
        earlier += begin < day
        increments += "closing rows" in said
        if world.random.random() < 0.2:
            compact(lake, "history/act", before=day)
        assert stored(lake, view).equals(world.at_once(view.view, noon(last))), (begin, last)
        if begin < day:
            tick(lake, view, world, day, last)
        before = {table: lake.version(table) for table in lake.tables()}
        assert stale_from(lake, CONTRACTS, view, watermark=noon(last)) is None
        tick(lake, view, world, day, last)
        assert {table: lake.version(table) for table in lake.tables()} == before
        day = last + dt.timedelta(days=1)
    assert earlier > 1
    assert increments > 3
    assert {dt.date(2028, 3, 1), dt.date(2028, 4, 1)} <= set(lake.days(f"state/features/{name}"))


def test_a_closing_state_is_passed_over_when_a_day_before_it_changes(tmp_path):
    lake, world, view = Lake(tmp_path), World(5), bound("champions")
    world.tables = {table: rows.with_columns(arrival="processed_date") for table, rows in world.tables.items()}
    whole = world.tables["history/act"]
    in_march = pl.col("processed_date").is_between(dt.date(2028, 3, 9), dt.date(2028, 3, 20))
    in_time = pl.col("event_time") <= pl.col("processed_time")
    held_back = whole.filter(in_march, in_time, pl.col("source_position").is_not_null()).head(1)
    world.tables["history/act"] = whole.join(
        held_back, on=["entity_id", "source_position"], how="anti", nulls_equal=True
    )
    for last in (dt.date(2028, 4, 9), dt.date(2028, 4, 10)):
        world.arrive(lake, last)
        tick(lake, view, world, last if last.day == 10 else world.first, last)
    kept = lake.scan("state/features/champions", days=[dt.date(2028, 4, 1)]).collect()
    world.tables["history/act"] = whole
    world.arrive(lake, dt.date(2028, 4, 11))
    begin, _ = tick(lake, view, world, dt.date(2028, 4, 11), dt.date(2028, 4, 11))
    assert begin == held_back["processed_date"][0]
    world.arrive(lake, dt.date(2028, 4, 12))
    begin, said = tick(lake, view, world, dt.date(2028, 4, 12), dt.date(2028, 4, 12))
    assert (begin, "closing rows" in said) == (dt.date(2028, 4, 11), True)
    made_again = lake.scan("state/features/champions", days=[dt.date(2028, 4, 1)]).collect()
    assert made_again["built_from"][0] != kept["built_from"][0]
    assert stored(lake, view).equals(world.at_once(view.view, noon(dt.date(2028, 4, 12))))
