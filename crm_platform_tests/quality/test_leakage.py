"""A timeline that knows its future is told from one that does not: by forgetting, by SQL, and by a planted leak."""

import datetime as dt
import random
from dataclasses import replace
from decimal import Decimal

import polars as pl
import pytest

from crm_platform.contracts import UTC_US
from crm_platform.features import (
    Attribute,
    Count,
    Distinct,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Std,
    Sum,
    build_timeline,
)
from crm_platform.quality.leakage import differing
from crm_platform.quality.planted import recomputation_tells
from crm_platform.quality.second_opinion import judged, second_opinion
from crm_platform.quality.truncation import Inputs, canary, disagreements, honestly, leakily, plant, truncation

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
TIMES = {"event_time": UTC_US, "processed_time": UTC_US}
VERSION = {
    "entity_id": pl.String,
    **TIMES,
    "source_position": pl.String,
    "is_tombstone": pl.Boolean,
    "changed_fields": pl.List(pl.String),
}
CALL = VERSION | {
    "account_id": pl.String,
    "occurred_at": UTC_US,
    "channel": pl.String,
    "amount": pl.Decimal(18, 2),
    "currency": pl.String,
}
ACCOUNT = VERSION | {"tier": pl.String, "owner_id": pl.String}
MERGE = {"loser_id": pl.String, "winner_id": pl.String, **TIMES}

VIEW = FeatureView(
    name="account",
    entity="account",
    key="account_id",
    time="occurred_at",
    features=[
        Attribute("tier"),
        Attribute("owner_id", since=True),
        Count(window="2d"),
        Count(window="5d"),
        Sum("amount", window="5d", currency="currency", currencies=("EUR", "USD")),
        Sum("amount"),
        Mean("amount", window="5d"),
        Std("amount", window="5d"),
        Min("amount", window="2d"),
        Max("amount", window="5d"),
        Distinct("channel", window="5d"),
        First("channel"),
        Last("channel"),
        Recency(),
    ],
)


def life(seed: int) -> Inputs:
    """A random life of four accounts with thirty calls: late, corrected, re-keyed, deleted, ahead, merged in circles."""
    dice = random.Random(seed)
    accounts = ["a", "b", "c", "d"]

    def moment(spread: int = 10 * 24) -> dt.datetime:
        return START + dt.timedelta(hours=dice.randint(0, spread))

    def times() -> dict:
        event = moment()
        late = dice.choice([0, 0, 0, 1, 30, 100, -20])
        return {"event_time": event, "processed_time": event + dt.timedelta(hours=late)}

    def version(entity_id: str, number: int, fields: dict) -> dict:
        kind = dice.random()
        common = {"entity_id": entity_id, "source_position": f"{number:04}", "is_tombstone": kind > 0.85, **times()}
        if kind > 0.85:
            return common | {"changed_fields": []}
        if kind > 0.5:
            named = dice.sample(sorted(fields), dice.randint(0, len(fields)))
            return common | {"changed_fields": sorted(named)} | {name: fields[name] for name in named}
        return common | fields

    def call() -> dict:
        return {
            "account_id": dice.choice([*accounts, None]),
            "occurred_at": dice.choice([moment(), moment(), moment(), None]),
            "channel": dice.choice(["phone", "mail", None]),
            "amount": dice.choice([Decimal("10.10"), Decimal("-3.33"), None]),
            "currency": dice.choice(["EUR", "USD", "CHF"]),
        }

    calls = [version(f"call-{dice.randint(1, 12)}", n, call()) for n in range(40)]
    told = [
        version(dice.choice(accounts), n, {"tier": dice.choice(["gold", "iron", None]), "owner_id": dice.choice("xy")})
        for n in range(12)
    ]
    merges = [
        {
            "loser_id": loser,
            "winner_id": dice.choice([*(other for other in accounts if other != loser), None]),
            **times(),
        }
        for loser in dice.choices(accounts, k=dice.randint(0, 7))
    ]
    return Inputs(
        VIEW,
        pl.LazyFrame(calls, schema=CALL),
        pl.LazyFrame(merges, schema=MERGE),
        pl.LazyFrame(told, schema=ACCOUNT),
    )


def questions(steps: pl.DataFrame) -> pl.DataFrame:
    around = [dt.timedelta(0), dt.timedelta(microseconds=-1), dt.timedelta(hours=5)]
    asked = [steps.select("entity_id", (pl.col("known_at") + shift).cast(UTC_US).alias("as_of")) for shift in around]
    return pl.concat(asked).unique().sort("as_of", "entity_id")


def opinion(inputs: Inputs, asked: pl.DataFrame) -> pl.DataFrame:
    assert inputs.activities is not None
    assert inputs.merges is not None
    assert inputs.versions is not None
    return second_opinion(
        VIEW,
        asked,
        activities=inputs.activities.collect(),
        merges=inputs.merges.collect(),
        versions=inputs.versions.collect(),
    )


@pytest.mark.parametrize("seed", range(6))
def test_sql_from_the_definitions_and_the_kernel_come_to_the_same(seed):
    inputs = life(seed)
    steps = build_timeline(VIEW, inputs.activities, inputs.merges, versions=inputs.versions).collect()
    found = differing(opinion(inputs, questions(steps)), steps.lazy(), judged(VIEW))
    assert found.rows() == []


def test_of_a_merge_and_an_unmerge_at_one_instant_both_count_the_merge():
    quiet = life(0)
    tie = {"loser_id": "a", "event_time": START, "processed_time": START}
    inputs = Inputs(
        VIEW,
        quiet.activities,
        pl.LazyFrame([tie | {"winner_id": "b"}, tie | {"winner_id": None}], schema=MERGE),
        quiet.versions,
    )
    steps = build_timeline(VIEW, inputs.activities, inputs.merges, versions=inputs.versions).collect()
    asked = questions(steps)
    found = opinion(inputs, asked)
    assert differing(found, steps.lazy(), judged(VIEW)).rows() == []
    assert found.filter(pl.col("entity_id") == "a", pl.col("as_of") >= START)["is_deleted"].all()


def test_everything_but_the_moment_since_which_something_holds_has_a_second_opinion():
    assert sorted(set(VIEW.columns) - set(judged(VIEW))) == ["owner_id_since"]


def test_a_value_that_is_not_what_the_definitions_give_is_named():
    inputs = life(1)
    steps = build_timeline(VIEW, inputs.activities, inputs.merges, versions=inputs.versions).collect()
    spoiled = steps.with_columns(
        pl.when(pl.int_range(pl.len()) == 20).then(pl.col("count_5d") + 1).otherwise("count_5d").alias("count_5d")
    )
    row = steps.row(20, named=True)
    found = differing(opinion(inputs, questions(steps)), spoiled.lazy(), judged(VIEW))
    assert (row["entity_id"], row["known_at"], "count_5d") in found.rows()
    assert found["column"].unique().to_list() == ["count_5d"]


@pytest.mark.parametrize("seed", range(3))
def test_forgetting_the_future_leaves_the_past_of_a_true_timeline(seed):
    inputs = life(seed)
    steps = honestly(inputs, START + dt.timedelta(days=40)).collect().lazy()
    cuts = [START + dt.timedelta(days=day, hours=7) for day in (1, 4, 8)]
    found = truncation(inputs, steps, cuts, table="features/account")
    assert [finding.what for finding in found.findings if not finding.passed] == []
    assert [finding.day for finding in found.findings] == [cut.date() for cut in cuts]


def test_a_timeline_that_believes_everything_was_known_at_once_is_caught_with_its_columns():
    inputs = life(2)
    steps = leakily(inputs, START + dt.timedelta(days=40)).collect().lazy()
    found = truncation(inputs, steps, [START + dt.timedelta(days=5)], table="features/account")
    assert (found.passed, found.severity, found.failed_days) == (
        False,
        "error",
        [dt.date(2026, 3, day) for day in (4, 5, 6)],
    )
    assert found.findings[0].examples is not None
    assert found.findings[0].examples.columns == ["entity_id", "known_at", "column"]


def test_a_keyframe_is_no_disagreement_and_a_changed_value_is():
    steps = honestly(life(0), START + dt.timedelta(days=40)).collect()
    row = steps.tail(1).with_columns(pl.col("known_at") + dt.timedelta(days=300))
    assert disagreements(pl.concat([steps, row]), steps).is_empty()
    wrong = row.with_columns(pl.lit(99).cast(pl.Int64).alias("count_5d"))
    assert disagreements(pl.concat([steps, wrong]), steps)["column"].to_list() == ["count_5d"]


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_leak_is_caught_and_the_true_timeline_is_not_accused(seed):
    found = canary(life(seed), START + dt.timedelta(days=6), table="features/account")
    assert (found.passed, found.findings[0].what) == (True, "The planted leak was caught.")


def test_a_check_that_does_not_catch_the_planted_leak_says_so():
    found = canary(life(0), START + dt.timedelta(days=6), table="features/account", leaky=honestly)
    assert not found.passed
    assert found.findings[0].what.startswith("A planted leak was not caught")


def test_a_leak_can_be_planted_where_there_are_attributes_alone():
    inputs = life(0)
    view = FeatureView(name="account", entity="account", features=[Attribute("tier")])
    found = canary(
        Inputs(view, None, inputs.merges, inputs.versions), START + dt.timedelta(days=8), table="features/account"
    )
    assert found.findings[0].what == "The planted leak was caught."


@pytest.mark.parametrize("seed", range(3))
def test_the_recomputation_tells_the_planted_leak_and_not_the_true_timeline(seed):
    cut = START + dt.timedelta(days=6)
    planted = plant(life(seed), cut)
    assert planted is not None
    assert recomputation_tells(planted, cut)
    assert not recomputation_tells(planted, cut, leaky=honestly)


def test_a_leak_can_be_planted_where_every_version_is_a_partial_update():
    inputs = life(0)
    assert inputs.activities is not None
    named = pl.col("changed_fields").fill_null(["account_id", "amount", "channel", "currency", "occurred_at"])
    partial = replace(inputs, activities=inputs.activities.with_columns(named))
    found = canary(partial, START + dt.timedelta(days=6), table="features/account")
    assert found.findings[0].what == "The planted leak was caught."
