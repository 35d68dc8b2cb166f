import datetime as dt
import math
import random

import polars as pl
import pytest
from polars.testing import assert_frame_equal

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
    features_at,
    passing,
    point_in_time_join,
    with_keyframes,
)
from crm_platform.features.known import TimelineError
from crm_platform.features.portions import Inputs, portions_of
from crm_platform.history.living import living, living_links
from crm_platform_tests.features.brute_force import MICROSECOND, Answers
from crm_platform_tests.features.histories import START, UTC_US, frames, lives

LIVES = 100
DAY = dt.timedelta(days=1)
READS = ["channel", "amount", "currency", "minutes"]

FINITE = [
    (Count(window="2d"), ("count_2d", "count", None, 2 * DAY)),
    (Count(window="12h"), ("count_12h", "count", None, DAY / 2)),
    (Sum("minutes", window="3d"), ("minutes_sum_3d", "sum", "minutes", 3 * DAY)),
    (Distinct("channel", window="3d"), ("channel_distinct_3d", "distinct", "channel", 3 * DAY)),
    (Min("amount", window="2d"), ("amount_min_2d", "min", "amount", 2 * DAY)),
    (Max("channel", window="3d"), ("channel_max_3d", "max", "channel", 3 * DAY)),
    (Mean("amount", window="3d"), ("amount_mean_3d", "mean", "amount", 3 * DAY)),
    (Std("minutes", window="3d"), ("minutes_std_3d", "std", "minutes", 3 * DAY)),
]
ENDLESS = [
    (First("channel"), ("channel_first", "first", "channel", None)),
    (Last("channel"), ("channel_last", "last", "channel", None)),
    (Recency(), ("last_at", "last_at", "occurred_at", None)),
    (Sum("amount"), ("amount_sum", "sum", "amount", None)),
    (Mean("minutes"), ("minutes_mean", "mean", "minutes", None)),
    (Std("amount"), ("amount_std", "std", "amount", None)),
    (Distinct("amount", window="2d"), ("amount_distinct_2d", "distinct", "amount", 2 * DAY)),
]
CURRENCIES = (
    Sum("amount", window="2d", currency="currency", currencies=("EUR", "USD")),
    [
        ("amount_eur_sum_2d", "sum", "amount", 2 * DAY, "currency", "EUR"),
        ("amount_usd_sum_2d", "sum", "amount", 2 * DAY, "currency", "USD"),
    ],
)


def view_of(declared, attributes=()):
    features = [*attributes, *(feature for feature, _ in declared)]
    told = [spec for _, spec in declared]
    view = FeatureView(name="acts", entity="account", key="account_id", features=features)
    return view, told


def same(left, right):
    if isinstance(left, float) or isinstance(right, float):
        return left is not None and right is not None and math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
    return left == right


def assert_timelines_equal(timeline, them, told, *, reads, attributes=(), with_versions):
    found = {
        key[0]: rows.rows()
        for key, rows in timeline.drop("entity_id")
        .with_columns(timeline["entity_id"])
        .group_by("entity_id", maintain_order=True)
    }
    checked = 0
    for life in them:
        answers = Answers(
            told,
            life.activities,
            life.merges,
            life.versions if with_versions else None,
            key="account_id",
            reads=reads,
            attributes=attributes,
        )
        for entity in answers.entities():
            expected = answers.timeline(entity)
            got = [row[:-1] for row in found.pop(entity)]
            assert [row[0] for row in got] == [row[0] for row in expected], entity
            for one, other in zip(got, expected, strict=True):
                assert all(same(a, b) for a, b in zip(one, other, strict=True)), (entity, one, other)
                checked += 1
    assert not found
    return checked


@pytest.fixture(scope="module")
def them():
    return lives(0, LIVES)


@pytest.fixture(scope="module")
def told_frames(them):
    return frames(them)


def test_finite_windows_equal_the_brute_force_step_by_step(them, told_frames):
    activities, merges, _ = told_frames
    view, told = view_of(FINITE)
    timeline = build_timeline(view, activities, merges).collect()
    reads = ["minutes", "channel", "amount"]
    assert assert_timelines_equal(timeline, them, told, reads=reads, with_versions=False) > 1_000


def test_features_of_all_time_and_attributes_equal_the_brute_force_step_by_step(them, told_frames):
    activities, merges, versions = told_frames
    view, told = view_of(ENDLESS, [Attribute("stage"), Attribute("size")])
    timeline = build_timeline(view, activities.lazy(), merges.lazy(), versions=versions.lazy()).collect()
    checked = assert_timelines_equal(
        timeline,
        them,
        told,
        reads=["channel", "amount", "minutes"],
        attributes=("stage", "size"),
        with_versions=True,
    )
    assert checked > 1_000


def test_money_by_currency_equals_the_brute_force_step_by_step(them, told_frames):
    activities, merges, _ = told_frames
    sums, told = CURRENCIES
    view = FeatureView(name="acts", entity="account", key="account_id", features=[sums])
    timeline = build_timeline(view, activities, merges).collect()
    assert assert_timelines_equal(timeline, them, told, reads=["amount", "currency"], with_versions=False) > 500


def probes(them, count, seed=5):
    rng = random.Random(seed)
    rows = []
    for life in them:
        moments = Answers([], life.activities, life.merges, life.versions, key="account_id", reads=[]).instants()
        for _ in range(count):
            moment = rng.choice(moments) + rng.choice([-1, 0, 0, 1]) * MICROSECOND + rng.choice([0, 0, 2]) * DAY
            rows.append((life.id(rng.choice("abcd")), moment))
    rng.shuffle(rows)
    return pl.DataFrame(rows, schema={"entity_id": pl.String, "as_of": UTC_US}, orient="row")


def everything():
    attributes = [Attribute("stage", since=True), Attribute("size")]
    features = [*attributes, CURRENCIES[0], *(feature for feature, _ in [*FINITE, *ENDLESS])]
    return FeatureView(name="all", entity="account", key="account_id", features=features)


def test_features_at_any_moment_are_what_a_join_with_the_timeline_gives(them, told_frames):
    activities, merges, versions = told_frames
    spine = probes(them, 40)
    timeline = build_timeline(everything(), activities, merges, versions=versions)
    joined = point_in_time_join(spine, timeline)
    assert joined.equals(features_at(spine, everything(), activities, merges, versions=versions))
    assert joined["count_2d"].sum() > 300
    assert joined["is_deleted"].null_count() > 100


@pytest.mark.parametrize("portion", [1, 50, 10**6])
def test_entities_that_pass_by_in_portions_of_any_size_answer_as_their_timeline_does(
    them, told_frames, portion, monkeypatch, tmp_path
):
    _, merges, versions = told_frames
    monkeypatch.setattr(passing, "PORTION", portion)

    def in_batches(rows):
        rows.write_parquet(tmp_path / "versions.parquet", row_group_size=10)
        lazy = pl.scan_parquet(tmp_path / "versions.parquet")
        assert sum(1 for _ in lazy.collect_batches()) > 10
        return lazy

    view = FeatureView(name="own", entity="account", features=[Attribute("size"), Attribute("stage")])
    spine = pl.concat(
        [probes(them, 40), pl.DataFrame({"entity_id": [None, "nobody", "0", "zz"], "as_of": [START] * 4})]
    )
    spine = spine.with_columns(as_of=pl.col("as_of").cast(UTC_US))
    for facts in (merges, None):
        joined = point_in_time_join(spine, build_timeline(view, None, facts, versions=versions))
        for own in (
            versions,
            versions.sort("entity_id"),
            versions.sort("entity_id", "processed_time", descending=[False, True]),
        ):
            assert joined.equals(features_at(spine, view, None, facts, versions=in_batches(own)))
            assert joined.equals(features_at(spine, view, None, facts, versions=own))
        asked = passing.Inputs(None, facts, in_batches(versions.sort("entity_id")))
        assert passing.in_passing(view, asked, spine["entity_id"], spine["as_of"].to_physical().to_numpy()) is not None
        assert joined["stage"].n_unique() > 3
        assert joined["is_deleted"].sum() > 100
    nobody = versions.clear()
    assert features_at(spine, view, None, versions=nobody)["is_deleted"].null_count() == spine.height
    assert features_at(spine, view, None, merges, versions=nobody)["is_deleted"].sum() > 100


@pytest.mark.parametrize("hours", [13, 24, 5 * 24])
def test_building_by_window_equals_building_at_once_whatever_the_cuts(told_frames, hours):
    activities, merges, versions = told_frames
    whole = build_timeline(everything(), activities, merges, versions=versions).collect()
    width = dt.timedelta(hours=hours)
    cuts = [START - 4 * DAY + n * width for n in range(int(dt.timedelta(days=24) / width) + 2)]
    parts = [
        build_timeline(everything(), activities, merges, versions=versions, since=since, until=until).collect()
        for since, until in zip([None, *cuts], [*cuts, None], strict=True)
    ]
    assert pl.concat(parts).sort("entity_id", "known_at").equals(whole)


@pytest.mark.parametrize(("hours", "declared"), [(13, "all"), (24, "finite"), (5 * 24, "all")])
def test_building_from_what_is_carried_equals_building_at_once_whatever_the_cuts(told_frames, hours, declared):
    activities, merges, versions = told_frames
    attributes = [Attribute("stage", since=True), Attribute("size"), Attribute("size2", since=True)]
    versions = versions.with_columns(size2="size")
    view, _ = view_of(FINITE + (ENDLESS if declared == "all" else []), attributes)
    whole = build_timeline(view, activities, merges, versions=versions).collect()
    width = dt.timedelta(hours=hours)
    begin = START - 4 * DAY
    built = build_timeline(view, activities, merges, versions=versions, until=begin).collect()
    for n in range(int(dt.timedelta(days=24) / width) + 2):
        since, last = begin + n * width, begin + n * width - MICROSECOND
        fields = ["account_id", "occurred_at", *view.reads]
        steps = build_timeline(
            view,
            living(activities, last, fields),
            living_links(merges, last),
            versions=living(versions, last, ["stage", "size", "size2"]),
            since=since,
            until=since + width,
            closing=built.group_by("entity_id", maintain_order=True).last(),
        ).collect()
        built = pl.concat([built, steps]).sort("entity_id", "known_at")
    assert built.equals(whole.filter(pl.col("known_at") < since + width))
    assert built["stage_since"].n_unique() > 20


def test_closing_rows_without_a_moment_before_which_they_stood_are_refused(told_frames):
    activities, merges, _ = told_frames
    view, _ = view_of(FINITE)
    with pytest.raises(TimelineError, match="no `since` before which they stood"):
        build_timeline(view, activities, merges, closing=build_timeline(view, activities, merges))


def test_the_past_does_not_change_when_the_future_lands(told_frames):
    view = everything()
    for cut in (START + 2 * DAY, START + 5 * DAY + MICROSECOND):
        known = pl.max_horizontal("event_time", "processed_time") < cut
        activities, merges, versions = (frame.filter(known) for frame in told_frames)
        truncated = build_timeline(view, activities, merges, versions=versions, until=cut).collect()
        full = build_timeline(view, told_frames[0], told_frames[1], versions=told_frames[2], until=cut).collect()
        assert truncated.equals(full)


def test_any_order_of_delivery_gives_the_same_timeline(told_frames):
    view = everything()
    activities, merges, versions = told_frames
    whole = build_timeline(view, activities, merges, versions=versions).collect()
    shuffled = [frame.sample(fraction=1.0, shuffle=True, seed=3) for frame in told_frames]
    assert build_timeline(view, shuffled[0], shuffled[1], versions=shuffled[2]).collect().equals(whole)
    order = ["entity_id", "event_time", "processed_time", "source_position"]
    for columns in (order, order[:1], order[1:]):
        acts, own = (frame.sort(columns) for frame in (activities, versions))
        assert build_timeline(view, acts, merges, versions=own).collect().equals(whole)


def test_keyframes_change_no_answer(them, told_frames):
    activities, merges, versions = told_frames
    whole = build_timeline(everything(), activities, merges, versions=versions).collect()
    begin, end = START - 60 * DAY, START + 90 * DAY
    framed = with_keyframes(whole, begin, end).collect()
    months = [dt.datetime(2028, month, 1, tzinfo=dt.UTC) for month in (3, 4, 5)]
    assert framed.filter(pl.col("known_at").is_in(months)).height > 400
    assert framed.filter(pl.struct("entity_id", "known_at").is_duplicated()).height == 0
    for spine in (probes(them, 20), probes(them, 10).with_columns(as_of=pl.lit(months[1]).cast(UTC_US))):
        for ttl in (None, 3 * DAY):
            assert point_in_time_join(spine, framed, ttl=ttl).equals(point_in_time_join(spine, whole, ttl=ttl))


@pytest.mark.parametrize("hours", [36, 24 * 20])
def test_keyframes_of_windows_are_those_of_the_whole(told_frames, hours):
    activities, merges, versions = told_frames
    begin, end = START - 10 * DAY, START + 40 * DAY
    view = everything()
    whole = with_keyframes(build_timeline(view, activities, merges, versions=versions, until=end), begin, end).collect()
    parts, since = [], begin
    while since < end:
        until = min(since + dt.timedelta(hours=hours), end)
        steps = build_timeline(view, activities, merges, versions=versions, since=since, until=until)
        before = pl.concat(parts) if parts else None
        carried = None if before is None else before.sort("known_at").group_by("entity_id", maintain_order=True).last()
        carried = None if carried is None else carried.select(whole.columns)
        parts.append(with_keyframes(steps, since, until, carried).collect())
        since = until
    assert pl.concat(parts).sort("entity_id", "known_at").equals(whole.filter(pl.col("known_at") >= begin))


def test_small_chunks_and_portions_and_wide_keys_give_the_same_timeline(told_frames, monkeypatch):
    activities, merges, versions = told_frames
    whole = build_timeline(everything(), activities, merges, versions=versions).collect()
    monkeypatch.setattr("crm_platform.features.known.CHUNK", 40)
    assert build_timeline(everything(), activities, merges, versions=versions).collect().equals(whole)
    monkeypatch.setattr("crm_platform.features.portions.ROWS_AT_ONCE", 20)
    monkeypatch.setattr("crm_platform.features.portions.SET_APART", 20)
    monkeypatch.setattr("crm_platform.features.spills.ROWS_AT_ONCE", 100)
    by_id = activities.sort("entity_id", maintain_order=True)
    assert len(portions_of(everything(), Inputs(by_id.lazy(), merges, versions))) > 30
    assert portions_of(everything(), Inputs(activities.lazy(), merges, versions)) is None
    for portions_read_again in (0, 1_000):
        monkeypatch.setattr("crm_platform.features.portions.READ_AGAIN", portions_read_again)
        in_portions = build_timeline(everything(), by_id.lazy(), merges, versions=versions).collect()
        assert_frame_equal(in_portions, whole, rel_tol=1e-15)  # a deviation is scaled by its portion's greatest number
        assert in_portions.drop("minutes_std_3d").equals(whole.drop("minutes_std_3d"))
    assert build_timeline(everything(), activities.lazy(), merges, versions=versions).collect().equals(whole)
    monkeypatch.setattr("crm_platform.history.orders.KEY_BITS", 8)
    assert build_timeline(everything(), activities, merges, versions=versions).collect().equals(whole)
