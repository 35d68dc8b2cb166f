"""A verdict holds for exactly the set that was looked at, by exactly the rules it was looked at with."""

import hashlib
import inspect
import json
from pathlib import Path

import polars as pl
import pytest

from crm_platform.features import Override, training_set
from crm_platform.features.gated import REQUIRED, RULES, GateError
from crm_platform.features.recipes import TrainingError
from crm_platform.features.shelf import LATEST, MANIFEST, PARQUET, pointed_at
from crm_platform.features.training import build_training_set, stored_set, training_set_as_of
from crm_platform.quality import label_windows, predictors, rules, training, training_gate
from crm_platform.quality.training_gate import judged, judged_by_all
from crm_platform_tests.features.scenario import LEADS, WATERMARK, at, lead, write
from crm_platform_tests.features.scenario import MANIFEST as CRM
from crm_platform_tests.features.stored_sets import behind_its_back, built_with
from crm_platform_tests.quality.test_leakage_in_the_lake import NAME, build_timeline, lake

__all__ = ["lake"]
MORE = (pl.col("lead__count_7d") + 1).alias("lead__count_7d")


def one_more(lake):
    """A newer set, of which nothing has been judged; and the id of the older one, which passed."""
    judged_by_all(lake, NAME)
    old = training_set(lake, NAME).manifest.id
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline(lake)
    build_training_set(lake, CRM, NAME, watermark=WATERMARK)
    return old


def test_rows_that_were_changed_behind_a_set_s_back_are_refused_by_name_by_id_and_by_its_checks(lake):
    judged_by_all(lake, NAME)
    found = training_set(lake, NAME)
    behind_its_back(found, found.frame.with_columns(MORE))
    words = rf"{found.manifest.id} is not what was built .* its training_set.parquet has another content"
    for ask in (
        lambda: training_set(lake, NAME),
        lambda: training_set(lake, NAME, found.manifest.id),
        lambda: training_set(lake, NAME, override=Override(by="me", why="a look")),
        lambda: training_set_as_of(lake, NAME, WATERMARK),
        lambda: judged(lake, NAME, "leakage"),
    ):
        with pytest.raises(TrainingError, match=words):
            ask()


def test_an_altered_set_is_built_again_under_its_id_to_the_same_bytes_and_judged_anew(lake):
    judged_by_all(lake, NAME)
    found = training_set(lake, NAME)
    before = (found.path / PARQUET).read_bytes()
    behind_its_back(found, found.frame.with_columns(MORE))
    told = []
    report = build_training_set(lake, CRM, NAME, watermark=WATERMARK, progress=told.append)
    assert (report.is_new, report.manifest.id) == (True, found.manifest.id)
    assert f"training/{NAME}: {found.manifest.id} was altered since it was built, and is written again" in told
    assert (found.path / PARQUET).read_bytes() == before
    assert [path.name for path in found.path.parent.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(GateError, match="leakage, label_windows, perfect_predictors has not looked at it"):
        training_set(lake, NAME)
    judged_by_all(lake, NAME)
    assert training_set(lake, NAME).frame.equals(found.frame)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda path: (path / PARQUET).unlink(), "its training_set.parquet is gone"),
        (lambda path: (path / MANIFEST).write_text("{}"), "its manifest.json is none"),
        (lambda path: path.rename(path.with_name("feedfeedfeedfeed")), "its manifest.json is that of"),
    ],
)
def test_a_set_that_lost_its_rows_its_manifest_or_its_id_is_refused(lake, alter, words):
    judged_by_all(lake, NAME)
    found = training_set(lake, NAME)
    alter(found.path)
    (lies_there,) = (path.name for path in found.path.parent.iterdir() if path.is_dir())
    with pytest.raises(TrainingError, match=words):
        training_set(lake, NAME, lies_there)


def test_another_set_under_the_same_id_has_no_verdict(lake):
    judged_by_all(lake, NAME)
    found = training_set(lake, NAME)
    built_with(found, found.frame.with_columns(MORE))
    with pytest.raises(
        GateError, match=r"leakage, .* has not looked at it; its verdict is on another set than the one that lies"
    ):
        training_set(lake, NAME)
    with pytest.raises(TrainingError, match="that passed its checks and ends by"):
        training_set_as_of(lake, NAME, WATERMARK)
    judged_by_all(lake, NAME)
    with pytest.raises(GateError, match="its check leakage failed"):
        training_set(lake, NAME)


def test_a_manifest_that_says_otherwise_of_the_same_rows_has_no_verdict(lake):
    judged_by_all(lake, NAME)
    found = training_set(lake, NAME)
    shorter = found.manifest.recipe.model_copy(update={"embargo": found.manifest.recipe.embargo / 2})
    other = found.manifest.model_copy(update={"recipe": shorter})
    (found.path / MANIFEST).write_text(other.model_dump_json(indent=2), encoding="utf-8")
    with pytest.raises(GateError, match="its verdict is on another set"):
        training_set(lake, NAME)


def test_a_verdict_by_older_rules_holds_no_more_until_the_check_has_looked_again(lake, monkeypatch):
    judged_by_all(lake, NAME)
    monkeypatch.setitem(RULES, "label_windows", 2)
    with pytest.raises(
        GateError, match=r"yet: label_windows has not .* by rules of version 1, and today's are of version 2"
    ):
        training_set(lake, NAME)
    judged(lake, NAME, "label_windows")
    assert training_set(lake, NAME).frame.height == 10


def test_a_verdict_from_before_seals_were_kept_holds_no_more(lake):
    judged_by_all(lake, NAME)
    kept = training_set(lake, NAME).path / "gate-leakage.json"
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps({name: told[name] for name in ("check", "passed", "what")}))
    with pytest.raises(GateError, match=r"yet: leakage has not looked at it"):
        training_set(lake, NAME)


def test_with_new_rules_the_older_set_that_a_name_stands_for_is_judged_with_the_newest(lake, monkeypatch):
    old = one_more(lake)
    new = stored_set(lake, NAME)
    built_with(new, new.frame.with_columns(MORE))
    monkeypatch.setitem(RULES, "leakage", 2)
    with pytest.raises(GateError, match=f"{old} cannot be read yet: leakage has not looked at it"):
        training_set(lake, NAME)
    assert [result.passed for result in judged_by_all(lake, NAME)] == [False, True, True]
    assert training_set(lake, NAME).manifest.id == old


def test_an_older_set_that_was_altered_does_not_keep_the_newest_from_being_judged(lake, monkeypatch):
    old = stored_set(lake, NAME, one_more(lake))
    behind_its_back(old, old.frame.head(1))
    monkeypatch.setitem(RULES, "leakage", 2)
    judged_by_all(lake, NAME)
    assert training_set(lake, NAME).manifest.id != old.manifest.id


def test_any_stored_set_can_be_judged_by_its_id_and_the_name_goes_on_to_stand_for_the_newest(lake, monkeypatch):
    old = one_more(lake)
    judged_by_all(lake, NAME)
    new = training_set(lake, NAME).manifest.id
    monkeypatch.setitem(RULES, "leakage", 2)
    judged_by_all(lake, NAME, id=old)
    assert training_set(lake, NAME, old).manifest.id == old
    assert pointed_at(stored_set(lake, NAME).path.parent, LATEST) == new


def test_whoever_changes_what_the_gate_asks_is_reminded_of_the_version_of_its_rules():
    """Does a check judge otherwise now? Then raise its version in RULES, so that stored sets are judged again; and either
    way write the new hash here."""
    modules = (training, label_windows, predictors, training_gate)
    sources = [Path(module.__file__).read_text(encoding="utf-8") for module in modules]
    judges = "\n".join((*sources, inspect.getsource(rules.training_rules)))
    assert REQUIRED == ("leakage", "label_windows", "perfect_predictors")
    assert dict(RULES) == {"leakage": 1, "label_windows": 1, "perfect_predictors": 1}
    assert hashlib.sha256(judges.encode()).hexdigest()[:16] == "1fa4013e608163c8"
