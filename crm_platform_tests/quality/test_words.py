"""What every check says when it fails: what, where, how many, an example, and what to do, with commands that exist."""

import datetime as dt
import re
import shlex
from pathlib import Path

import click
import polars as pl
import pytest

from crm_platform.cli import main
from crm_platform.contracts import MERGES
from crm_platform.defs.checklist import checklist
from crm_platform.features.training import stored_set
from crm_platform.history.build import build_history
from crm_platform.lake import Lake, hold
from crm_platform.landing import DriftError, land_snapshot
from crm_platform.quality.contracts import living_keep_contract, quarantined, versions_keep_contract
from crm_platform.quality.derived import merges_keep_rules, steps_keep_rules
from crm_platform.quality.differences import drift_of
from crm_platform.quality.drift import landed_drift
from crm_platform.quality.duplicates import duplicates
from crm_platform.quality.freshness import freshness
from crm_platform.quality.gaps import missing_days, offset_gaps
from crm_platform.quality.leakage import recomputed, truncated, whole_past
from crm_platform.quality.losses import landing_losses
from crm_platform.quality.parity import parity
from crm_platform.quality.predictors import PredictorLimits
from crm_platform.quality.reconciliation import reconciliation
from crm_platform.quality.red import nothing_red
from crm_platform.quality.training import training_holds
from crm_platform.quality.training_gate import label_windows, perfect_predictors
from crm_platform.quality.truncation import canary, honestly
from crm_platform.sources import load_manifest
from crm_platform_tests.features import scenario
from crm_platform_tests.features.stored_sets import built_with
from crm_platform_tests.history.test_build import CONTRACTS, MANIFEST, WEEK, export, land
from crm_platform_tests.landing.test_snapshots import DAY, DEAL, END, GOOD, Exporting, manifest_with_deals
from crm_platform_tests.quality import test_drift
from crm_platform_tests.quality.test_lake_checks import TUESDAY, built, fed
from crm_platform_tests.quality.test_leakage import START, life
from crm_platform_tests.quality.test_leakage_in_the_lake import DAYS, LEAD, NAME, spoil
from crm_platform_tests.quality.test_leakage_in_the_lake import lake as leads
from crm_platform_tests.quality.test_parity import cut_behind_the_log
from crm_platform_tests.quality.test_values import after, usual
from crm_platform_tests.quality.test_volume import landed
from crm_platform_tests.scenario import COMPANY, CREATED, LIFE, QUARREL, at, change

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"`(crm-platform [^`]+)`")
lead_lake = leads


def twice(lake):
    built(lake, *LIFE)
    rows = lake.scan("history/company", days=[TUESDAY]).collect()
    lake.replace("history/company", pl.concat([rows, rows.head(1)]), days=[TUESDAY])


def of_feed(lake):
    fed(lake, (1, None, "10", True), (2, "12", "20", True))
    yield offset_gaps(lake)
    yield freshness(lake, at("10 12:30"))


def of_open_batch(lake):
    fed(lake, (1, None, "10", True), (2, "10", "20", False))
    yield offset_gaps(lake)


def of_object(lake):
    built(lake, *LIFE, *QUARREL)
    land(lake, change("fir", "050", "07 08:00", name="Fir"), batch="2")
    yield quarantined(lake, COMPANY, WEEK)
    yield missing_days(lake, COMPANY, WEEK)


def of_versions(lake):
    twice(lake)
    yield versions_keep_contract(lake, COMPANY, WEEK)
    yield duplicates(lake, COMPANY, WEEK)


def of_hole(lake):
    built(lake, change("acme", "001", "01 09:00", changed_fields=["owner_id"], owner_id="mia"))
    yield living_keep_contract(lake, COMPANY)


def of_snapshot(lake):
    export(lake, 2, [{"entity_id": "acme", "name": "Acme"}])
    built(lake, CREATED)
    export(lake, 4, [{"entity_id": "acme", "name": "Acme GmbH"}])
    yield reconciliation(lake, MANIFEST, COMPANY, WEEK)


def of_short_snapshot(lake):
    export(lake, 2, [{"entity_id": name} for name in ("acme", "boreal", "cedar")])
    export(lake, 4, [{"entity_id": "acme"}])
    fed(lake, (1, None, "10", True))
    build_history(lake, MANIFEST, CONTRACTS, "company", WEEK)
    yield reconciliation(lake, MANIFEST, COMPANY, WEEK)


def of_drift(lake):
    taken = {"drift": drift_of(DEAL), "clock": lambda: END, "ingested_at": lambda: END}
    manifest = manifest_with_deals()
    with pytest.raises(DriftError):
        land_snapshot(lake, Exporting([GOOD.drop("amount")]), manifest, DEAL, DAY, **taken)
    yield landed_drift(lake, manifest, DEAL, [DAY])


def of_values(lake):
    yield after(lake, usual().with_columns(pl.col("amount") * 10))


def of_volume(lake):
    yield landed(lake, d0305=0)


def of_merges(lake):
    fact = {"object": "company", "loser_id": "acme", "winner_id": "acme", "processed_date": TUESDAY}
    rows = pl.DataFrame([fact | {"event_time": at("03 09:00"), "processed_time": at("03 09:00")}], schema=MERGES)
    lake.replace("history/merges", rows, days=[TUESDAY])
    yield merges_keep_rules(lake, ["company"], WEEK)


def of_blind_canary(lake):
    del lake
    yield canary(life(0), START + dt.timedelta(days=6), table="features/account", leaky=honestly)


def a_step(lake):
    return lake.scan("features/lead").filter(pl.col("count_7d") > 0).sort("known_at").collect().row(0, named=True)


def of_gate(lake):
    hold(lake, "history/company", TUESDAY, "contract", "a rule is broken")
    yield nothing_red(lake)


def of_parity(lake):
    built(lake, *LIFE)
    cut_behind_the_log(lake, "current/company")
    yield parity(Lake(lake.root), "current/company")


def of_losses(lake):
    built(lake, *LIFE)
    for file in lake.files("landing/changes/company", [TUESDAY]):
        Path(file).unlink()
    yield landing_losses(lake, ["landing/changes/company"])


def of_steps(lake):
    step = a_step(lake)
    spoil(lake, step["entity_id"], step["known_date"], changed_at=pl.col("known_at") + dt.timedelta(hours=1))
    yield steps_keep_rules(lake, scenario.CONTRACTS, LEAD, DAYS)


def of_leaks(lake):
    step = a_step(lake)
    spoil(lake, step["entity_id"], step["known_date"], known_at=pl.col("known_at") - dt.timedelta(hours=1))
    yield recomputed(lake, scenario.CONTRACTS, LEAD, DAYS)
    yield truncated(lake, scenario.CONTRACTS, LEAD, DAYS)
    yield whole_past(lake, scenario.CONTRACTS, LEAD, DAYS)


def of_training(lake):
    found = stored_set(lake, NAME)
    early = pl.when(pl.col("label")).then(pl.col("as_of")).alias("label_event_time")
    built_with(found, found.frame.with_columns(early))
    spoilt = stored_set(lake, NAME)
    yield training_holds(lake, spoilt)
    yield label_windows(lake, spoilt)
    built_with(found, found.frame.with_columns(pl.col("label").alias("lead__is_won")))
    yield perfect_predictors(stored_set(lake, NAME), PredictorLimits(auc=0.98, entities=1))


ON_COMPANIES = (
    of_feed,
    of_open_batch,
    of_object,
    of_versions,
    of_hole,
    of_snapshot,
    of_short_snapshot,
    of_drift,
    of_values,
    of_volume,
    of_parity,
    of_losses,
)
ON_LEADS = (of_steps, of_leaks, of_training)


def commands(text):
    """The commands of ours that a text names."""
    return [found.replace("…", "") for found in COMMAND.findall(text)]


def exists(command):
    """Whether the command line knows a command with these options."""
    words = shlex.split(command)[1:]
    node = main
    while words and isinstance(node, click.Group):
        node = node.commands.get(words.pop(0))
    if node is None:
        return False
    known = {name for option in node.params for name in option.opts}
    return all(word in known for word in words if word.startswith("--"))


def complaints(result):
    """What a failing answer fails to say."""
    said = result.summary()
    failed = [finding for finding in result.findings if not finding.passed]
    wanted = {
        "fails at all": not result.passed,
        "names its table": result.table in said,
        "counts": result.failing > 0 and f"{result.failing:,} of {result.total:,} rows fail" in said,
        "gives an example": any(finding.example for finding in failed) and "For example" in said,
        "says what to do": len(result.remedy) > 40 and said.endswith(result.advice),
        "names the day, not a placeholder": "DAY" not in said and "OBJECT" not in said,
        "names commands that exist": all(exists(command) for command in commands(said)),
    }
    return [what for what, holds in wanted.items() if not holds]


@pytest.mark.parametrize("failing", [*ON_COMPANIES, of_merges, of_blind_canary, of_gate])
def test_a_failing_check_says_what_where_how_many_an_example_and_what_to_do(tmp_path, failing):
    for result in failing(Lake(tmp_path)):
        assert complaints(result) == [], result.summary()


@pytest.mark.parametrize("failing", ON_LEADS)
def test_so_does_a_check_of_features_and_training_sets(lead_lake, failing):
    for result in failing(lead_lake):
        assert complaints(result) == [], result.summary()


def test_no_check_of_the_sandbox_goes_without_a_failing_case_here(tmp_path, lead_lake):
    seen = {
        result.check
        for number, failing in enumerate((*ON_COMPANIES, of_merges, of_blind_canary, of_gate))
        for result in failing(Lake(tmp_path / str(number)))
    }
    seen |= {result.check for failing in ON_LEADS for result in failing(lead_lake)}
    manifest = load_manifest("sandbox")
    assert {declared.name for declared in checklist(manifest, scenario.CONTRACTS)} == seen


def test_every_command_that_the_docs_name_exists():
    named = {
        (path.name, command)
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for command in commands(path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 3
    assert [one for one in sorted(named) if not exists(one[1])] == []


def test_a_value_that_no_contract_declares_and_an_empty_field_of_an_export_warn_and_name_it(tmp_path):
    lake, manifest = Lake(tmp_path), manifest_with_deals()
    taken = {"drift": drift_of(test_drift.DEAL), "clock": lambda: END, "ingested_at": lambda: END}
    odd = test_drift.export(id=["1", "2"], stage=["parked", "won"], owner_id=["mia", None])
    land_snapshot(lake, Exporting([odd]), manifest, test_drift.DEAL, DAY, **taken)
    found = landed_drift(lake, manifest, test_drift.DEAL, [DAY])
    assert (found.severity, found.failed_days, found.failing, found.total) == ("warn", [DAY], 1, 2)
    shown = found.findings[0].examples.select("column", "difference", "found").rows()
    assert sorted(shown) == [("owner_id", "nullability", "nulls"), ("stage", "new_category", "parked")]
    assert complaints(found) == []
