"""A timeline that passes by in batches answers as one that is held, wherever batches end and whatever stands in it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crm_platform.features import point_in_time_join
from crm_platform.features.searches import Questions, in_passing

START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS = 260_000
ROW_GROUP = 100_000
"""How many steps pass by at once."""


def timeline(entities, seconds):
    """One step per entity and second, in the order given, whose value is its row."""
    known = pl.Series(np.asarray(seconds, dtype=np.int64) * 1_000_000).cast(pl.Datetime("us", "UTC"))
    known += START - datetime(1970, 1, 1, tzinfo=UTC)
    steps = pl.DataFrame({"entity_id": entities, "known_at": known}).with_row_index("value")
    return steps.with_columns(changed_at=pl.col("known_at").dt.truncate("1h"), text=pl.col("value").cast(pl.String))


@pytest.fixture
def passing(tmp_path):
    """Stores steps so that they pass by in three batches."""

    def stored(steps):
        steps.write_parquet(tmp_path / "steps.parquet", row_group_size=ROW_GROUP)
        lazy = pl.scan_parquet(tmp_path / "steps.parquet")
        assert [batch.height for batch in lazy.collect_batches(maintain_order=True)] == [ROW_GROUP, ROW_GROUP, 60_000]
        return lazy

    return stored


def asked(rng, keys, most, count=3_000):
    moments = [START + timedelta(seconds=int(second)) for second in rng.integers(-5, most, count)]
    return pl.DataFrame({"entity_id": rng.choice(keys, count), "as_of": moments}).with_columns(
        pl.when(pl.col("entity_id") != "nobody").then("entity_id")
    )


LONG = ["a"] * 150_000 + ["b"] * 3 + ["d"] * (STEPS - 150_003)
"""Two entities that straddle batches."""


@pytest.mark.parametrize(
    "rules",
    [{}, {"ttl": timedelta(minutes=30)}, {"inclusive": False, "embargo": timedelta(seconds=7)}, {"ttl": timedelta(0)}],
    ids=str,
)
@pytest.mark.parametrize("per_second", [1, 4, 90_000])
def test_batches_answer_as_the_whole_does(rules, per_second, passing):
    steps = timeline(LONG, np.arange(STEPS) // per_second)
    spine = asked(np.random.default_rng(1), ["a", "b", "c", "d", "nobody"], STEPS // per_second + 10)
    assert_frame_equal(point_in_time_join(spine, passing(steps), **rules), point_in_time_join(spine, steps, **rules))


def test_the_last_step_of_equal_moments_counts_though_a_batch_ends_between_them(passing):
    steps = timeline(["a"] * STEPS, np.zeros(STEPS))
    spine = pl.DataFrame({"entity_id": ["a", "a"], "as_of": [START, START - timedelta(microseconds=1)]})
    assert point_in_time_join(spine, passing(steps))["value"].to_list() == [STEPS - 1, None]


def test_a_later_batch_that_is_too_old_takes_back_what_an_earlier_one_gave(passing):
    steps = timeline(["a"] * STEPS, np.arange(STEPS))
    steps = steps.with_columns(
        changed_at=pl.when(pl.col("value") < 100_000).then(START + timedelta(days=9)).otherwise(START)
    )
    spine = pl.DataFrame({"entity_id": ["a"], "as_of": [START + timedelta(seconds=STEPS)]})
    assert point_in_time_join(spine, passing(steps), ttl=timedelta(days=1))["value"].to_list() == [None]


def test_a_step_without_a_moment_is_passed_over(passing):
    steps = timeline(LONG, np.arange(STEPS)).with_columns(
        pl.when(pl.col("value") % 3 != 0).then("known_at").alias("known_at")
    )
    spine = pl.DataFrame(
        {"entity_id": ["a", "a"], "as_of": [START + timedelta(seconds=second) for second in (3, 100_002)]}
    )
    assert point_in_time_join(spine, passing(steps))["value"].to_list() == [2, 100_001]


@pytest.mark.parametrize(
    ("entities", "seconds"),
    [
        (["b"] * 200_000 + ["a"] * 60_000, np.arange(STEPS)),
        (["a"] * STEPS, np.append(np.arange(200_000), np.arange(60_000))),
        (["a"] * 100_000 + ["b"] * 100_000 + ["a"] * 60_000, np.arange(STEPS)),
        (["a", "b"] * (STEPS // 2), np.arange(STEPS)),
    ],
    ids=["entities fall", "times fall", "an entity comes back", "by time"],
)
def test_a_timeline_in_another_order_is_held_and_answers_the_same(entities, seconds, passing):
    steps = timeline(entities, seconds)
    spine = asked(np.random.default_rng(2), ["a", "b", "c"], STEPS)
    moments = spine["as_of"].to_physical().to_numpy()
    questions = Questions.of(spine["entity_id"], moments, None)
    assert in_passing(passing(steps).select("entity_id", "known_at", "value"), questions, ["value"]) is None
    ordered = steps.sort("entity_id", "known_at", maintain_order=True)
    assert_frame_equal(point_in_time_join(spine, passing(steps)), point_in_time_join(spine, ordered))


def test_nobody_asked_and_nothing_known_give_nulls():
    spine = pl.DataFrame({"entity_id": pl.Series([None, None], dtype=pl.String), "as_of": [START, START]})
    steps = timeline(["a"], [0])
    assert point_in_time_join(spine, steps.lazy())["value"].to_list() == [None, None]
    named = spine.with_columns(entity_id=pl.lit("a"))
    assert point_in_time_join(named, steps.clear().lazy())["value"].to_list() == [None, None]


@pytest.mark.parametrize("before", ["a", "b"])
def test_order_that_breaks_where_a_batch_ends_is_seen(before, passing):
    rest = STEPS - ROW_GROUP
    steps = timeline([before] * ROW_GROUP + ["a"] * rest, np.append(np.arange(ROW_GROUP) + STEPS, np.arange(rest)))
    questions = Questions.of(pl.Series(["a", "b"]), np.full(2, np.iinfo(np.int64).max), None)
    assert in_passing(passing(steps).select("entity_id", "known_at", "value"), questions, ["value"]) is None
