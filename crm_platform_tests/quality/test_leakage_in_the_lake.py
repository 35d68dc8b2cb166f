"""The leakage checks on stored timelines and training sets: true ones pass, and each kind of wrong one is named."""

import datetime as dt

import polars as pl
import pytest

from crm_platform.contracts import RANGES
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.training import build_training_set, stored_set
from crm_platform.history.claims import claim_of
from crm_platform.lake import Lake, hold
from crm_platform.quality.leakage import recomputed, truncated, whole_past
from crm_platform.quality.planted import planted_leak
from crm_platform.quality.settled import settled
from crm_platform.quality.training import training_holds
from crm_platform_tests.features.scenario import (
    ACTIVITIES,
    CONTRACTS,
    FIRST,
    LAST,
    LEADS,
    MANIFEST,
    WATERMARK,
    activity,
    at,
    days,
    lead,
    small_lake,
    write,
)
from crm_platform_tests.features.stored_sets import built_with

LEAD = views_for(MANIFEST, CONTRACTS)["lead"]
NAME = "lead_conversion"
DAYS = days(FIRST, LAST)


def build_timeline(lake: Lake) -> None:
    build_features(lake, MANIFEST, CONTRACTS, LEAD, DAYS, watermark=WATERMARK)


def land_until(lake: Lake, watermark: dt.datetime) -> None:
    """Says that everything known up to a moment has landed."""
    told = {
        "batch_id": "feed-0000000001",
        "from_offset": None,
        "to_offset": "1",
        "watermark": watermark,
        "status": "done",
        "events": 1,
        "recorded_at": watermark,
    }
    lake.append("landing/ranges", pl.DataFrame([told], schema=RANGES), token="1")


@pytest.fixture
def lake(tmp_path) -> Lake:
    found = small_lake(tmp_path / "lake")
    land_until(found, WATERMARK)
    build_timeline(found)
    build_training_set(found, MANIFEST, NAME, watermark=WATERMARK)
    return found


def spoil(lake: Lake, entity_id: str, known_date: dt.date, **values: pl.Expr) -> None:
    """Writes other values into the stored steps of one lead on one day."""
    rows = lake.scan("features/lead", days=[known_date]).collect()
    mine = pl.col("entity_id") == entity_id
    other = rows.with_columns(pl.when(mine).then(value).otherwise(name).alias(name) for name, value in values.items())
    assert lake.replace("features/lead", other, days=[known_date]) is not None


def test_a_true_timeline_and_a_true_training_set_pass(lake):
    checks = [check(lake, CONTRACTS, LEAD, DAYS) for check in (truncated, recomputed, planted_leak)]
    found = [*checks, training_holds(lake, stored_set(lake, NAME))]
    assert [result.summary() for result in found if not result.passed] == []
    assert [result.check for result in found] == [
        "leakage_truncation",
        "leakage_recomputed",
        "leakage_planted",
        "leakage",
    ]
    assert all(result.total > 0 for result in found)


def test_a_step_that_stands_earlier_than_it_was_known_is_caught_by_both(lake):
    steps = lake.scan("features/lead").filter(pl.col("count_7d") > 0).sort("known_at").collect()
    early = steps.row(0, named=True)
    spoil(lake, early["entity_id"], early["known_date"], known_at=pl.col("known_at") - dt.timedelta(hours=1))
    found = recomputed(lake, CONTRACTS, LEAD, DAYS)
    assert not found.passed
    assert early["known_date"] in found.failed_days
    found = truncated(lake, CONTRACTS, LEAD, DAYS)
    assert not found.passed
    assert "count_7d" in found.findings[0].what


def test_a_red_day_that_is_well_again_is_asked_about_and_one_without_a_question_is_not_judged(lake):
    one = lake.scan("features/lead").filter(pl.col("count_7d") > 0).collect().row(0, named=True)["known_date"]
    hold(lake, "features/lead", one, "leakage_recomputed", "it was wrong")
    found = recomputed(lake, CONTRACTS, LEAD, DAYS)
    assert one in {finding.day for finding in found.findings if finding.passed}
    assert one not in found.unjudged
    asked = {finding.day for finding in found.findings}
    with_steps = set(lake.scan("features/lead").select("known_date").collect()["known_date"])
    assert found.unjudged == with_steps - asked


def test_a_wrong_value_is_named_by_its_column(lake):
    row = lake.scan("features/lead").filter(pl.col("count_7d") > 0).sort("known_at").collect().row(0, named=True)
    spoil(lake, row["entity_id"], row["known_date"], count_90d=pl.col("count_90d") + 1)
    found = recomputed(lake, CONTRACTS, LEAD, DAYS)
    assert row["known_date"] in found.failed_days
    assert "in count_90d." in found.summary()


def late_call(when, processed):
    """A call of the past that another run lands and writes into history after the timeline was built."""
    return activity("A9", when, processed=processed, occurred_at=when, lead_id="L3", kind="call", channel="phone")


def test_what_another_run_wrote_into_history_since_the_build_turns_no_day_red(lake):
    write(lake, "activity", [*ACTIVITIES, late_call(at(3, 10, 9), at(3, 11, 9))])
    for check in (truncated, recomputed):
        found = check(lake, CONTRACTS, LEAD, DAYS)
        assert found.passed, found.summary()
        assert found.total > 0
        assert found.waiting == frozenset(days(dt.date(2026, 3, 11), LAST))
    found = whole_past(lake, CONTRACTS, LEAD, DAYS)
    assert found.passed, found.summary()
    assert found.waiting == frozenset(DAYS)
    assert found.summary().endswith("0 rows looked at. 46 days from 2026-03-01 on are to be built again: not judged.")


def test_days_from_before_what_was_written_since_are_judged_all_the_same(lake):
    step = lake.scan("features/lead").filter(pl.col("known_at") == at(3, 6)).collect().row(0, named=True)
    spoil(lake, step["entity_id"], step["known_date"], count_7d=pl.col("count_7d") + 1)
    write(lake, "activity", [*ACTIVITIES, late_call(at(3, 10, 9), at(3, 11, 9))])
    for check in (truncated, recomputed):
        found = check(lake, CONTRACTS, LEAD, DAYS)
        assert dt.date(2026, 3, 6) in found.failed_days
        assert min(found.waiting) == dt.date(2026, 3, 11)


def test_a_timeline_that_is_behind_the_watermark_is_judged_up_to_where_it_was_built(tmp_path):
    short = small_lake(tmp_path / "lake")
    build_features(short, MANIFEST, CONTRACTS, LEAD, days(FIRST, dt.date(2026, 3, 5)), watermark=at(3, 5, 12))
    land_until(short, WATERMARK)
    for check in (truncated, recomputed):
        found = check(short, CONTRACTS, LEAD, days(FIRST, dt.date(2026, 3, 8)))
        assert found.passed, found.summary()
        assert found.total > 0
        assert found.waiting == frozenset(days(dt.date(2026, 3, 6), dt.date(2026, 3, 8)))


def test_a_timeline_that_came_out_equal_claims_the_newer_history_and_is_judged_again(lake):
    renamed = lead("L3", at(3, 25), operation="update", changed=["source"], source="web")
    write(lake, "lead", [*LEADS, renamed])
    before = claim_of(lake, "features/lead")
    build_timeline(lake)
    assert claim_of(lake, "features/lead")[0].inputs != before[0].inputs
    assert settled(lake, CONTRACTS, LEAD).judged(DAYS) == DAYS
    at_rest = lake.version("features/lead")
    build_timeline(lake)
    assert lake.version("features/lead") == at_rest


def test_a_view_without_a_stored_timeline_gives_no_finding(tmp_path):
    empty = Lake(tmp_path / "empty")
    assert truncated(empty, CONTRACTS, LEAD, DAYS).findings == []
    assert recomputed(empty, CONTRACTS, LEAD, DAYS).findings == []
    assert planted_leak(empty, CONTRACTS, LEAD, DAYS).passed


def rewritten(lake: Lake, *columns: pl.Expr):
    """The check's answer on the stored set with other values in it."""
    found = stored_set(lake, NAME)
    built_with(found, found.frame.with_columns(*columns))
    return training_holds(lake, stored_set(lake, NAME))


def test_a_feature_from_after_its_question_is_named(lake):
    found = rewritten(lake, (pl.col("lead__count_7d") + 1).alias("lead__count_7d"))
    assert found.failing == 10
    assert "lead__count_7d" in found.summary()


def test_a_label_from_before_its_question_is_a_leak(lake):
    early = pl.when(pl.col("label")).then(pl.col("as_of")).alias("label_event_time")
    found = rewritten(lake, early)
    assert "label happened after as of" in found.summary()


def test_a_label_from_beyond_the_horizon_is_a_leak(lake):
    late = pl.when(pl.col("label")).then(pl.col("as_of") + dt.timedelta(days=30, microseconds=1))
    found = rewritten(
        lake, late.alias("label_event_time"), (pl.col("as_of") + dt.timedelta(days=31)).alias("label_known_at")
    )
    assert "label happened within the horizon" in found.summary()


def test_a_label_read_before_it_could_be_known_is_a_leak(lake):
    found = rewritten(lake, (pl.col("label_known_at") - dt.timedelta(microseconds=1)).alias("label_known_at"))
    assert "label was read after horizon and grace" in found.summary()
