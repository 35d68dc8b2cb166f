import hashlib
import json
from datetime import date, timedelta

import polars as pl
import pytest

from crm_platform.contracts import RANGES
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.gated import REQUIRED, Verdict, keep_verdict
from crm_platform.features.recipes import Recipe, TrainingError, TrainingManifest, code_of, recipe_for
from crm_platform.features.training import (
    build_training_set,
    mark_superseded,
    measured_lag,
    pinned_versions,
    rebuild,
    stored_set,
    training_set_as_of,
)
from crm_platform.lake import hold, release
from crm_platform_tests.features.scenario import (
    ACTIVITIES,
    CONTRACTS,
    FIRST,
    LAST,
    LEADS,
    MANIFEST,
    US,
    WATERMARK,
    activity,
    at,
    days,
    lead,
    merge,
    small_lake,
    write,
    write_merges,
)

NAME = "lead_conversion"
VIEW = views_for(MANIFEST, CONTRACTS)["lead"]


def build_timeline_of_leads(lake, watermark=WATERMARK):
    build_features(lake, MANIFEST, CONTRACTS, VIEW, days(FIRST, LAST), watermark=watermark)


def build(lake, *, watermark=WATERMARK, embargo=None, manifest=MANIFEST):
    return build_training_set(lake, manifest, NAME, watermark=watermark, embargo=embargo)


@pytest.fixture
def lake(tmp_path):
    found = small_lake(tmp_path / "lake")
    build_timeline_of_leads(found)
    return found


def passed(lake, report):
    for check in REQUIRED:
        found = stored_set(lake, NAME, report.manifest.id)
        keep_verdict(found, Verdict.on(found, check, passed=True, what="It held."))


def rows(lake, *columns):
    return stored_set(lake, NAME).frame.select("entity_id", "as_of", *columns).rows()


def test_each_open_lead_is_asked_about_weekly_with_what_was_known_and_what_became_of_it(lake):
    build(lake)
    assert rows(lake, "label", "lead__status", "lead__count_7d") == [
        ("L1", at(3, 2), True, "new", 0),
        ("L1", at(3, 9), True, "working", 2),
        ("L1", at(3, 16), True, "working", 0),
        ("L2", at(3, 2), True, "new", 0),
        ("L2", at(3, 9), False, "new", 0),
        ("L3", at(3, 2), False, "new", 0),
        ("L3", at(3, 9), False, "new", 1),
        ("L3", at(3, 16), False, "new", 0),
        ("L4", at(3, 2), False, "new", 0),
        ("L4", at(3, 9), False, "new", 0),
    ]


def test_the_label_says_when_it_happened_and_when_it_was_read(lake):
    build(lake)
    assert rows(lake, "label_event_time", "label_known_at")[2:5] == [
        ("L1", at(3, 16), at(3, 20, 12), at(4, 15)),
        ("L2", at(3, 2), at(3, 8, 9), at(4, 1)),
        ("L2", at(3, 9), None, at(4, 8)),
    ]


@pytest.mark.parametrize(("watermark", "last"), [(at(4, 15) - US, at(3, 9)), (at(4, 15), at(3, 16))])
def test_questions_whose_answer_is_not_in_yet_are_left_out(lake, watermark, last):
    build(lake, watermark=watermark)
    assert stored_set(lake, NAME).frame["as_of"].max() == last


@pytest.mark.parametrize("table", ["features/lead", "history/lead", "landing/snapshot/activity"])
def test_a_set_ends_before_a_red_day_of_what_it_comes_from(lake, table):
    hold(lake, table, date(2026, 4, 10), "leakage", "one row", since=at(4, 10))
    report = build(lake)
    assert report.blocked == date(2026, 4, 10)
    assert report.manifest.watermark == at(4, 10) - US
    assert report.manifest.recipe.last == at(3, 9)
    release(lake, table, [date(2026, 4, 10)], resolved_at=at(4, 11))
    again = build(lake)
    assert (again.blocked, again.manifest.recipe.last) == (None, at(3, 16))


def test_a_red_day_beyond_the_watermark_or_of_another_table_ends_nothing(lake):
    hold(lake, "features/account", date(2026, 3, 10), "leakage", "one row", since=at(4, 10))
    hold(lake, "features/lead", date(2026, 4, 16), "leakage", "one row", since=at(4, 10))
    report = build(lake)
    assert (report.blocked, report.manifest.watermark) == (None, WATERMARK)


def test_an_embargo_asks_for_older_features_and_leaves_the_questions(lake):
    build(lake, embargo=timedelta(days=1))
    found = rows(lake, "lead__status", "lead__count_7d")
    assert found[:3] == [
        ("L1", at(3, 2), None, None),
        ("L1", at(3, 9), "working", 2),
        ("L1", at(3, 16), "working", 0),
    ]
    assert found[5] == ("L3", at(3, 2), None, None)
    assert len(found) == 10


def test_the_manifest_says_what_the_set_is_and_came_from(lake):
    report = build(lake)
    told = report.manifest
    assert (told.rows, told.positives, told.entities, told.moments) == (10, 4, 4, 3)
    assert told.watermark == WATERMARK
    assert {table: pin.version for table, pin in told.inputs.items()} == {
        "features/lead": 0,
        "history/lead": 0,
        "history/merges": None,
    }
    assert (told.recipe.first, told.recipe.last) == (at(3, 2), at(3, 16))
    assert told.recipe.knowledge == "source"
    assert told.recipe.closed == ("disqualified",)
    assert told.keys == ("entity_id", "as_of")
    assert told.labels == ("label", "label_event_time", "label_known_at")
    assert told.features["lead__count_7d"].startswith("Int") or told.features["lead__count_7d"].startswith("UInt")
    assert "label" not in told.features
    assert told.code == code_of()
    assert json.loads((report.path / "manifest.json").read_bytes())["id"] == report.path.name


def test_the_embargo_comes_with_its_reason(lake):
    assert build(lake).manifest.recipe.embargo_reason == "the manifest's settling lag: no lag was measured"
    asked = build(lake, embargo=timedelta(0)).manifest.recipe
    assert (asked.embargo, asked.embargo_reason) == (timedelta(0), "asked for")


def test_a_negative_embargo_is_refused(lake):
    with pytest.raises(TrainingError, match="look into the future"):
        build(lake, embargo=-US)


def test_embargo_and_grace_default_to_the_settling_lag(lake):
    slow = MANIFEST.model_copy(update={"settling_lag": timedelta(hours=2)})
    recipe = build(lake, manifest=slow).manifest.recipe
    assert (recipe.embargo, recipe.grace) == (timedelta(hours=2), timedelta(hours=2))


def test_a_measured_lag_is_the_default_embargo_and_grace():
    recipe = recipe_for(MANIFEST, NAME, watermark=WATERMARK, earliest=at(3, 1), measured=timedelta(minutes=7))
    assert (recipe.embargo, recipe.grace) == (timedelta(minutes=7), timedelta(minutes=7))
    assert recipe.embargo_reason == "p99 of the measured lag between recording and landing"


def test_the_lag_is_measured_on_live_ticks_only(lake):
    live = MANIFEST.model_copy(update={"clock": "system"})
    assert measured_lag(lake, MANIFEST) is None
    ranges = pl.DataFrame(
        [("b1", None, "10", at(3, 1), "done", 9, at(3, 1)), ("b2", "10", "12", at(3, 2), "done", 2, at(3, 2))],
        schema=RANGES,
        orient="row",
    )
    lake.append("landing/ranges", ranges, token="ranges")
    assert measured_lag(lake, live) is None
    ticked = lead("L9", at(3, 2, 1), status="new") | {
        "_batch_id": "b2",
        "_ingested_at": at(3, 2, 1) + timedelta(seconds=40),
    }
    told = lead("L8", at(3, 2, 2), status="new", channel="snapshot") | {"_batch_id": "b2", "_ingested_at": at(3, 9)}
    write(lake, "lead", [*LEADS, ticked, told])
    assert measured_lag(lake, live) == timedelta(seconds=40)


def test_building_again_writes_nothing(lake):
    first = build(lake)
    before = {path.name: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = build(lake)
    assert (first.is_new, second.is_new) == (True, False)
    assert second.manifest == first.manifest
    assert {path.name: path.stat().st_mtime_ns for path in first.path.iterdir()} == before


def test_later_days_that_decide_no_row_leave_the_id(lake):
    first = build(lake)
    write(lake, "lead", [*LEADS, lead("L7", at(4, 15, 6), status="new")])
    build_timeline_of_leads(lake)
    second = build(lake)
    assert second.manifest.id == first.manifest.id
    assert second.superseded == ()


def test_built_again_from_its_manifest_it_gives_the_same_bytes(lake):
    report = build(lake)
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline_of_leads(lake)
    manifest = TrainingManifest.model_validate_json((report.path / "manifest.json").read_bytes())
    stored = (report.path / "training_set.parquet").read_bytes()
    assert rebuild(lake, manifest) == stored
    assert manifest.parquet_sha256 == hashlib.sha256(stored).hexdigest()


def test_a_change_in_the_stretch_that_was_read_makes_a_new_set_and_marks_the_old(lake):
    old = build(lake)
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline_of_leads(lake)
    new = build(lake)
    assert new.manifest.id != old.manifest.id
    assert new.superseded == (old.manifest.id,)
    assert stored_set(lake, NAME, old.manifest.id).superseded == ("features/lead", "history/lead")
    assert stored_set(lake, NAME).manifest.id == new.manifest.id
    assert stored_set(lake, NAME).superseded == ()
    assert mark_superseded(lake, NAME) == ()


def test_a_late_activity_supersedes_through_the_timeline_alone(lake):
    old = build(lake)
    write(
        lake, "activity", [*ACTIVITIES, activity("A9", at(3, 2, 9), occurred_at=at(3, 2, 8), lead_id="L3", kind="call")]
    )
    build_timeline_of_leads(lake)
    assert mark_superseded(lake, NAME) == (old.manifest.id,)
    assert stored_set(lake, NAME).superseded == ("features/lead",)


def test_a_merge_of_leads_supersedes_and_one_of_accounts_does_not(lake):
    old = build(lake)
    write_merges(lake, merge("account", "L3", "L1", at(3, 5)))
    assert mark_superseded(lake, NAME) == ()
    write_merges(lake, merge("lead", "L3", "L1", at(3, 5)), merge("account", "L3", "L1", at(3, 5)))
    assert mark_superseded(lake, NAME) == (old.manifest.id,)


def test_dropping_what_became_known_later_changes_no_row(lake, tmp_path):
    edge = at(4, 1)
    build(lake)
    kept = stored_set(lake, NAME).frame.filter(pl.col("label_known_at") <= edge)
    other = small_lake(tmp_path / "other")
    write(other, "lead", [row for row in LEADS if max(row["event_time"], row["processed_time"]) <= edge])
    build_timeline_of_leads(other, edge)
    build(other, watermark=edge)
    assert stored_set(other, NAME).frame.rows() == kept.rows()


def test_a_set_without_any_mature_question_is_empty_and_typed(lake):
    build(lake, watermark=at(3, 20))
    found = stored_set(lake, NAME)
    assert found.frame.height == 0
    assert found.frame.schema["as_of"] == pl.Datetime("us", "UTC")
    assert "lead__count_7d" in found.features.columns


def test_the_loader_separates_features_from_keys_and_labels(lake):
    build(lake)
    found = stored_set(lake.root, NAME)
    assert found.features.columns == [name for name in found.frame.columns if name.startswith("lead__")]
    assert found.labels.to_list() == [True, True, True, True, False, False, False, False, False, False]


def test_a_set_can_be_had_as_of_an_earlier_moment(lake):
    early = build(lake, watermark=at(4, 8))
    late = build(lake)
    assert early.manifest.id != late.manifest.id
    passed(lake, early)
    passed(lake, late)
    assert training_set_as_of(lake, NAME, at(4, 15)).manifest.id == late.manifest.id
    assert training_set_as_of(lake, NAME, at(4, 15) - US).manifest.id == early.manifest.id
    with pytest.raises(TrainingError, match="that passed its checks and ends by 2026-04-01"):
        training_set_as_of(lake, NAME, at(4, 1))


def test_a_set_that_does_not_exist_is_refused_by_name(lake):
    with pytest.raises(TrainingError, match="no training set 'lead_conversion' at all"):
        stored_set(lake, NAME)
    build(lake)
    with pytest.raises(TrainingError, match="with id 0123"):
        stored_set(lake, NAME, "0123")


def test_an_undeclared_set_and_a_missing_input_are_refused(lake, tmp_path):
    with pytest.raises(TrainingError, match="declares no training set 'churn'; it declares: lead_conversion"):
        build_training_set(lake, MANIFEST, "churn", watermark=WATERMARK)
    bare = small_lake(tmp_path / "bare")
    with pytest.raises(TrainingError, match="reads features/lead, which does not exist yet"):
        build(bare)


def test_a_half_written_set_of_a_killed_run_is_never_seen(lake):
    report = build(lake)
    staged = report.path.parent / f".{report.path.name}"
    report.path.rename(staged)
    (staged / "manifest.json").unlink()
    with pytest.raises(TrainingError, match="with id"):
        stored_set(lake, NAME)
    again = build(lake)
    assert again.is_new
    assert not staged.exists()
    assert stored_set(lake, NAME).frame.height == 10


def test_the_versions_that_sets_pin_are_told(lake):
    build(lake)
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline_of_leads(lake)
    build(lake)
    assert pinned_versions(lake) == {"features/lead": {0, 1}, "history/lead": {0, 1}}


def test_the_code_that_makes_sets_is_told_by_its_hash():
    assert sorted(code_of()) == ["crm-platform", "polars", "source_sha256"]
    assert len(code_of()["source_sha256"]) == 64


def test_a_recipe_survives_being_written_down():
    recipe = recipe_for(MANIFEST, NAME, watermark=WATERMARK, earliest=at(3, 1, 8))
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert recipe.moments.to_list() == [at(3, 2), at(3, 9), at(3, 16)]
