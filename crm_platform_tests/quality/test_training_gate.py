"""A training set is found by its name once all its checks have passed: not before, not otherwise, or audited."""

import datetime as dt
import json
import logging

import polars as pl
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.features import Override, training_set
from crm_platform.features.gated import REQUIRED, GateError
from crm_platform.features.recipes import TrainingError
from crm_platform.features.training import build_training_set, stored_set, training_set_as_of
from crm_platform.lake import audit_log, hold, release
from crm_platform.quality.predictors import PredictorLimits
from crm_platform.quality.training_gate import CHECKS, judged, judged_by_all, label_windows, perfect_predictors
from crm_platform_tests.features.scenario import LEADS, MANIFEST, WATERMARK, at, lead, write
from crm_platform_tests.features.stored_sets import built_with
from crm_platform_tests.pipeline import settings_in
from crm_platform_tests.quality.test_leakage_in_the_lake import NAME, build_timeline, lake

__all__ = ["lake"]
FEW = PredictorLimits(auc=0.98, entities=1)
ME = Override(by="me", why="looking into it")


def spoil(lake, *columns):
    """Writes other values into the set that was built last."""
    found = stored_set(lake, NAME)
    built_with(found, found.frame.with_columns(*columns))


def test_the_gate_asks_what_reading_by_name_requires():
    assert tuple(CHECKS) == REQUIRED


def test_a_set_is_unreadable_by_name_between_its_build_and_its_checks(lake):
    with pytest.raises(
        GateError, match=r"leakage, label_windows, perfect_predictors has not looked at it.*runbook.md#leakage"
    ):
        training_set(lake, NAME)
    for check in REQUIRED[:-1]:
        judged(lake, NAME, check)
    with pytest.raises(GateError, match="perfect_predictors has not looked at it"):
        training_set(lake, NAME)
    judged(lake, NAME, REQUIRED[-1])
    assert training_set(lake, NAME).frame.height == 10


def test_the_old_good_set_stays_readable_until_the_new_one_has_passed(lake, caplog):
    judged_by_all(lake, NAME)
    old = training_set(lake, NAME)
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline(lake)
    new = build_training_set(lake, MANIFEST, NAME, watermark=WATERMARK).manifest.id
    with caplog.at_level(logging.WARNING):
        assert training_set(lake, NAME).manifest.id == old.manifest.id != new
    assert f"{new} was built later and has not passed its checks" in caplog.text
    judged_by_all(lake, NAME)
    assert training_set(lake, NAME).manifest.id == new
    assert training_set(lake, NAME, old.manifest.id).superseded == ("features/lead", "history/lead")


def test_a_set_that_failed_is_refused_with_its_check_its_finding_and_the_runbook(lake):
    spoil(lake, (pl.col("lead__count_7d") + 1).alias("lead__count_7d"))
    assert [result.passed for result in judged_by_all(lake, NAME)] == [False, True, True]
    with pytest.raises(GateError, match=r"its check leakage failed.*lead__count_7d.*docs/runbook.md#leakage"):
        training_set(lake, NAME)
    with pytest.raises(GateError, match="its check leakage failed"):
        training_set(lake, NAME, stored_set(lake, NAME).manifest.id)
    with pytest.raises(TrainingError, match="that passed its checks and ends by"):
        training_set_as_of(lake, NAME, WATERMARK)


def test_a_new_set_that_fails_takes_nothing_away_from_the_old_one(lake):
    judged_by_all(lake, NAME)
    old = training_set(lake, NAME).manifest.id
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline(lake)
    new = build_training_set(lake, MANIFEST, NAME, watermark=WATERMARK).manifest.id
    spoil(lake, (pl.col("lead__count_7d") + 1).alias("lead__count_7d"))
    judged_by_all(lake, NAME)
    assert training_set(lake, NAME).manifest.id == old
    with pytest.raises(GateError, match="its check leakage failed"):
        training_set(lake, NAME, new)


def test_a_set_that_fails_later_is_not_readable_any_more(lake):
    judged_by_all(lake, NAME)
    spoil(lake, (pl.col("lead__count_7d") + 1).alias("lead__count_7d"))
    judged_by_all(lake, NAME)
    with pytest.raises(GateError, match="its check leakage failed"):
        training_set(lake, NAME)


def test_a_red_day_of_what_it_was_made_from_holds_a_set_back_until_the_day_is_mended(lake):
    judged_by_all(lake, NAME)
    day = dt.date(2026, 3, 9)
    hold(lake, "features/lead", day, "leakage_truncation", "known too early")
    with pytest.raises(GateError, match=r"made from features/lead, whose day 2026-03-09 is red by leakage_truncation"):
        training_set(lake, NAME)
    release(lake, "features/lead", [day])
    assert training_set(lake, NAME).frame.height == 10


def test_a_red_day_after_all_that_it_reads_holds_nothing_back(lake):
    judged_by_all(lake, NAME)
    hold(lake, "features/lead", dt.date(2026, 4, 1), "leakage_truncation", "known too early")
    assert training_set(lake, NAME).frame.height == 10


def test_an_override_reads_what_is_held_back_and_is_audited_before_it_does(lake):
    found = training_set(lake, NAME, override=ME)
    assert found.frame.height == 10
    line = audit_log(lake).row(0, named=True)
    assert (line["actor"], line["action"]) == ("me", "training.read_ungated")
    assert line["subject"] == f"training/lead_conversion/{found.manifest.id}"
    assert json.loads(line["detail"])["why"] == "looking into it"


def test_an_override_of_what_nothing_stands_against_is_no_decision(lake):
    judged_by_all(lake, NAME)
    assert training_set(lake, NAME, override=ME).frame.height == 10
    assert audit_log(lake).is_empty()


def test_an_override_says_who_and_why():
    with pytest.raises(GateError, match="needs who and why"):
        Override(by="me", why=" ")


def test_judging_a_set_again_writes_nothing(lake):
    judged_by_all(lake, NAME)
    folder = stored_set(lake, NAME).path
    before = {path: path.stat().st_mtime_ns for path in [*folder.iterdir(), *folder.parent.iterdir()]}
    judged_by_all(lake, NAME)
    assert {path: path.stat().st_mtime_ns for path in [*folder.iterdir(), *folder.parent.iterdir()]} == before


def test_the_label_among_the_features_is_told_by_two_checks(lake):
    spoil(lake, pl.col("label").alias("lead__is_won"))
    told = {name: ask(lake, stored_set(lake, NAME), FEW) for name, ask in CHECKS.items()}
    assert {name: result.passed for name, result in told.items()} == {
        "leakage": False,
        "label_windows": True,
        "perfect_predictors": False,
    }
    assert "lead__is_won" in told["leakage"].summary()
    assert "lead__is_won" in str(told["perfect_predictors"].findings[0].examples)


def test_a_feature_that_was_accepted_with_a_reason_passes(lake):
    spoil(lake, pl.col("label").alias("lead__is_won"))
    limits = PredictorLimits(auc=0.98, entities=1, accepted={"lead__is_won": "a test"})
    assert "lead__is_won" not in str(perfect_predictors(stored_set(lake, NAME), limits).findings[0].examples)


def test_too_few_entities_are_told_and_not_judged(lake):
    found = perfect_predictors(stored_set(lake, NAME))
    assert found.passed
    assert found.findings[0].what == (
        "Too few to judge by: 2 entities have the outcome, 3 lack it; 20 of each are needed."
    )


@pytest.mark.parametrize("shift", [dt.timedelta(microseconds=-1), dt.timedelta(microseconds=1)])
def test_an_outcome_that_history_does_not_tell_is_named_with_what_it_does(lake, shift):
    spoil(lake, pl.col("label_event_time") + shift)
    found = label_windows(lake, stored_set(lake, NAME))
    assert (found.passed, found.failing) == (False, 4)
    assert found.findings[0].examples is not None
    assert found.findings[0].examples.columns == ["entity_id", "as_of", "label", "label_event_time", "outcome"]


def test_windows_of_one_entity_that_overlap_are_counted(lake):
    facts = label_windows(lake, stored_set(lake, NAME)).facts
    assert {name: facts[name] for name in ("overlapping_rows", "most_windows_at_once", "independent_rows")} == {
        "overlapping_rows": 6,
        "most_windows_at_once": 3,
        "independent_rows": 4,
    }


def test_the_command_line_refuses_names_the_override_and_audits_it(lake, tmp_path):
    config = ["--config", str(settings_in(tmp_path, "http://127.0.0.1:1", 45).folder / "crm_platform.yaml")]
    refused = CliRunner().invoke(main, ["training", NAME, *config])
    assert refused.exit_code == 1
    assert "leakage, label_windows, perfect_predictors has not looked at it" in refused.output
    assert "--despite-gate" in refused.output
    opened = CliRunner().invoke(main, ["training", NAME, "--despite-gate", "a look", "--by", "me", *config])
    assert opened.exit_code == 0, opened.output
    assert "training_set.parquet" in opened.output
    assert audit_log(lake).select("actor", "action").rows() == [("me", "training.read_ungated")]
    judged_by_all(lake, NAME)
    assert "10 rows, 36 features" in CliRunner().invoke(main, ["training", NAME, *config]).output
