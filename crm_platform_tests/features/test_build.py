import json
from datetime import date, timedelta
from itertools import pairwise

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from crm_platform.features.build import UnbuiltFeaturesError, build_features, midnight, stale_from
from crm_platform.features.catalogue import views_for
from crm_platform.history.errors import WindowError
from crm_platform.lake import Lake, hold
from crm_platform_tests.features.scenario import (
    CONTRACTS,
    FIRST,
    LAST,
    LEADS,
    MANIFEST,
    US,
    WATERMARK,
    at,
    days,
    lead,
    merge,
    small_lake,
    write,
    write_merges,
)

VIEWS = views_for(MANIFEST, CONTRACTS)


def build(lake, first=FIRST, last=LAST, *, watermark=WATERMARK, view="lead"):
    return build_features(lake, MANIFEST, CONTRACTS, VIEWS[view], days(first, last), watermark=watermark)


def steps(lake, entity=None, view="lead"):
    found = lake.scan(f"features/{view}").sort("entity_id", "known_at")
    return (found if entity is None else found.filter(pl.col("entity_id") == entity)).collect()


def in_force(lake, entity, moment, *columns):
    found = steps(lake, entity).filter(pl.col("known_at") <= moment)
    return found.select(columns or "count_7d").row(-1) if found.height else None


@pytest.fixture
def lake(tmp_path):
    return small_lake(tmp_path / "lake")


def test_the_stored_timeline_holds_every_step_with_its_day(lake):
    report = build(lake)
    columns = ["known_at", "count_7d", "status", "known_date"]
    assert steps(lake, "L1").select(columns).rows() == [
        (at(3, 1, 8), 0, "new", date(2026, 3, 1)),
        (at(3, 2, 10), 1, "new", date(2026, 3, 2)),
        (at(3, 3, 9), 1, "working", date(2026, 3, 3)),
        (at(3, 5, 10), 2, "working", date(2026, 3, 5)),
        (at(3, 9, 10), 1, "working", date(2026, 3, 9)),
        (at(3, 9, 11), 0, "working", date(2026, 3, 9)),
        (at(3, 20, 12), 0, "converted", date(2026, 3, 20)),
        (at(4, 1), 0, "converted", date(2026, 4, 1)),
        (at(4, 1, 10), 0, "converted", date(2026, 4, 1)),
        (at(4, 1, 11), 0, "converted", date(2026, 4, 1)),
    ]
    assert report.rows[date(2026, 3, 9)] == 2
    assert report.days == tuple(days(FIRST, LAST))
    assert report.version == 0


def test_the_tables_columns_are_the_envelope_the_features_and_the_day(lake):
    build(lake)
    assert list(lake.schema("features/lead")) == [
        "entity_id",
        "known_at",
        "changed_at",
        "is_deleted",
        *VIEWS["lead"].features,
        "known_date",
    ]


def test_building_the_last_day_again_finds_all_it_carries_in_and_writes_no_table(lake):
    build(lake)
    found = {table: lake.version(table) for table in lake.tables()}
    assert "state/features/lead" in found
    build(lake, LAST)
    assert {table: lake.version(table) for table in lake.tables()} == found


def test_building_again_commits_nothing(lake):
    build(lake)
    assert build(lake).commit is None
    assert lake.version("features/lead") == 0


@pytest.mark.parametrize(
    "begins",
    [
        [date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 9), date(2026, 3, 31), date(2026, 4, 1), date(2026, 4, 2)],
        [date(2026, 3, 13), date(2026, 3, 14), date(2026, 3, 20)],
        [date(2026, 4, 1)],
    ],
)
def test_building_by_window_equals_building_at_once(lake, tmp_path, begins):
    build(lake)
    other = small_lake(tmp_path / "other")
    for first, following in pairwise([FIRST, *begins, LAST + timedelta(days=1)]):
        build(other, first, following - timedelta(days=1))
    assert steps(other).equals(steps(lake))


def test_a_keyframe_repeats_every_entity_on_the_first_of_the_month_the_dead_included(lake):
    build(lake)
    keyframes = (
        steps(lake).filter(pl.col("known_at") == at(4, 1)).select("entity_id", "is_deleted", "changed_at", "status")
    )
    assert keyframes.rows() == [
        ("L1", False, at(3, 20, 12), "converted"),
        ("L2", False, at(3, 12, 9), "converted"),
        ("L3", False, at(3, 6), "new"),
        ("L4", True, at(3, 10), None),
    ]


def test_the_timeline_ends_just_after_the_watermark(lake, tmp_path):
    edge = at(3, 20, 12)
    build(lake, watermark=edge - US)
    assert steps(lake, "L1")["known_at"].max() == at(3, 9, 11)
    other = small_lake(tmp_path / "other")
    build(other, watermark=edge)
    assert steps(other, "L1")["known_at"].max() == edge


def test_days_beyond_the_watermark_are_not_said_to_be_built(lake):
    report = build(lake, watermark=at(3, 20))
    assert report.days[-1] == date(2026, 3, 20)
    assert build(lake, date(2026, 4, 1), date(2026, 4, 2), watermark=at(3, 20)).days == ()


def test_the_open_day_is_completed_when_the_watermark_moves(lake, tmp_path):
    build(lake, watermark=at(3, 5, 9))
    build(lake, date(2026, 3, 5), LAST)
    other = small_lake(tmp_path / "other")
    build(other)
    assert steps(lake).equals(steps(other))


def test_a_planned_activity_counts_from_the_moment_it_takes_place(lake):
    build(lake)
    assert in_force(lake, "L3", at(3, 6) - US) == (0,)
    assert in_force(lake, "L3", at(3, 6)) == (1,)
    assert in_force(lake, "L3", at(3, 13) - US) == (1,)
    assert in_force(lake, "L3", at(3, 13)) == (0,)


def test_a_gap_before_the_window_is_refused_and_nothing_is_written(lake):
    with pytest.raises(UnbuiltFeaturesError, match=r"but 3 steps of 2026-03-01 are not in it") as refused:
        build(lake, date(2026, 3, 10), LAST)
    assert refused.value.day == date(2026, 3, 1)
    assert not lake.exists("features/lead")


def test_a_gap_of_nothing_but_an_expiry_is_refused(lake):
    build(lake, FIRST, date(2026, 3, 8))
    with pytest.raises(UnbuiltFeaturesError, match="2026-03-09"):
        build(lake, date(2026, 3, 10), LAST)


def test_quiet_days_before_the_window_are_no_gap(lake):
    build(lake, FIRST, date(2026, 3, 20))
    assert build(lake, date(2026, 3, 24), LAST).days[0] == date(2026, 3, 24)


def test_days_with_a_hole_are_refused(lake):
    with pytest.raises(WindowError, match="2026-03-02"):
        build_features(
            lake, MANIFEST, CONTRACTS, VIEWS["lead"], [date(2026, 3, 1), date(2026, 3, 3)], watermark=WATERMARK
        )


@pytest.mark.parametrize(
    "table",
    ["history/lead", "history/activity", "history/merges", "landing/snapshot/lead", "landing/changes/activity"],
)
def test_it_stops_before_the_first_red_day_of_an_input(lake, table):
    hold(lake, table, date(2026, 3, 5), "contract", "two rows", since=at(3, 5))
    report = build(lake)
    assert report.blocked == date(2026, 3, 5)
    assert report.days == tuple(days(FIRST, date(2026, 3, 4)))
    assert steps(lake)["known_at"].max() < at(3, 5)


def test_the_commit_says_what_it_was_built_from(lake):
    write_merges(lake, merge("lead", "L3", "L1", at(3, 25)))
    build(lake)
    told = DeltaTable(lake.uri("features/lead")).history(1)[0]
    assert json.loads(told["built_from"]) == {"history/lead": 0, "history/activity": 0, "history/merges": 0}
    assert told["watermark"] == "2026-04-15T12:00:00+00:00"


def test_a_merge_moves_the_activities_to_the_winner(lake):
    write_merges(lake, merge("lead", "L3", "L1", at(3, 7)), merge("account", "L1", "L3", at(3, 1)))
    build(lake)
    assert in_force(lake, "L1", at(3, 7) - US, "count_7d", "is_deleted") == (2, False)
    assert in_force(lake, "L1", at(3, 7), "count_7d", "is_deleted") == (3, False)
    assert in_force(lake, "L3", at(3, 7), "count_7d", "is_deleted") == (0, True)


def test_rebuilding_a_stretch_leaves_the_files_of_all_other_days(lake):
    build(lake)
    touched = days(date(2026, 3, 6), date(2026, 3, 20))
    others = [day for day in days(FIRST, LAST) if day not in touched]
    before = lake.files("features/lead", others)
    late = lead("L3", at(3, 6), operation="update", status="working")
    end = lead("L3", at(3, 20), operation="update", status="new")
    write(lake, "lead", [*LEADS, late, end])
    report = build(lake, touched[0], touched[-1])
    assert report.commit is not None
    assert report.commit.days == (date(2026, 3, 6), date(2026, 3, 13), date(2026, 3, 20))
    assert lake.files("features/lead", others) == before


def test_a_red_day_of_any_object_stops_the_view_for_merges_come_from_all_of_them(lake):
    hold(lake, "history/account", date(2026, 3, 5), "contract", "two rows", since=at(3, 5))
    assert build(lake).blocked == date(2026, 3, 5)


def test_what_was_known_before_the_first_day_is_built_with_it(lake, tmp_path):
    begin = date(2026, 3, 5)
    report = build_features(
        lake, MANIFEST, CONTRACTS, VIEWS["lead"], days(begin, LAST), watermark=WATERMARK, first_day=begin
    )
    other = small_lake(tmp_path / "other")
    build(other)
    assert steps(lake).equals(steps(other))
    assert report.days[0] == begin


def stale(lake, watermark=WATERMARK):
    return stale_from(lake, CONTRACTS, VIEWS["lead"], watermark=watermark)


def test_a_timeline_is_stale_from_the_first_day_that_history_tells_otherwise(lake):
    assert stale(lake) == date(2026, 3, 1)
    build(lake)
    assert stale(lake) is None
    late = lead("L3", at(3, 6), processed=at(3, 7, 1), operation="update", status="working")
    write(lake, "lead", [*LEADS, late])
    assert stale(lake) == date(2026, 3, 7)
    build(lake, date(2026, 3, 7), LAST)
    assert stale(lake) is None


def test_days_that_are_not_built_yet_are_stale_and_those_beyond_the_watermark_are_not(lake):
    build(lake, FIRST, date(2026, 3, 8))
    assert stale(lake) == date(2026, 3, 9)
    assert stale(lake, at(3, 8, 23)) is None


def test_a_timeline_whose_history_is_gone_is_stale_from_its_first_day(lake):
    assert stale(Lake(lake.root + "/elsewhere")) is None
    build(lake)
    for name in ("lead", "activity"):
        lake.replace(f"history/{name}", lake.scan(f"history/{name}").head(0), days=lake.days(f"history/{name}"))
    assert stale(lake) == date(2026, 3, 1)


def test_a_view_without_activities_is_built_from_the_entity_alone(lake):
    columns = {name: column for name, column in MANIFEST.roles["activity"].columns.items() if name != "lead_id"}
    roles = {**MANIFEST.roles, "activity": MANIFEST.roles["activity"].model_copy(update={"columns": columns})}
    manifest = MANIFEST.model_copy(update={"roles": roles})
    view = views_for(manifest, CONTRACTS)["lead"]
    report = build_features(lake, manifest, CONTRACTS, view, days(FIRST, LAST), watermark=WATERMARK)
    assert steps(lake, "L1").select("known_at", "status").rows() == [
        (at(3, 1, 8), "new"),
        (at(3, 3, 9), "working"),
        (at(3, 20, 12), "converted"),
        (at(4, 1), "converted"),
    ]
    assert sorted(report.built_from) == ["history/lead", "history/merges"]


def test_duckdb_answers_any_moment_by_an_ordinary_as_of_join(lake):
    build(lake)
    asked = pl.DataFrame({"entity_id": ["L1", "L1", "L3"], "as_of": [at(3, 5, 10) - US, at(3, 5, 10), at(3, 12)]})
    stored = pl.read_parquet(lake.files("features/lead"), hive_partitioning=True)
    connection = duckdb.connect()
    connection.register("asked", asked)
    connection.register("stored", stored)
    found = connection.sql(
        "select asked.entity_id, count_7d from asked asof join stored"
        " on asked.entity_id = stored.entity_id and asked.as_of >= stored.known_at order by asked.entity_id, as_of"
    ).fetchall()
    assert found == [("L1", 1), ("L1", 2), ("L3", 1)]


def test_midnight_begins_the_day():
    assert midnight(date(2026, 3, 1)) == at(3, 1)
    assert midnight(date(2026, 3, 1)) + timedelta(days=1) == at(3, 2)
