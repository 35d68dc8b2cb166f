"""Each kind of drift under each policy, from the export to what lands, what waits, and what the check says of the day."""

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest

from crm_platform.contracts import QUARANTINE, Policies, contracts_in
from crm_platform.history.build import build_history
from crm_platform.lake import Lake
from crm_platform.landing import DriftError, kept_days, land_snapshot, release_quarantined
from crm_platform.quality.contracts import versions_keep_contract
from crm_platform.quality.differences import drift_of
from crm_platform.quality.drift import landed_drift, values_before
from crm_platform.quality.schemas import recorder, schemas_by_day
from crm_platform.sources import load_manifest
from crm_platform_tests.landing.conftest import small_sandbox
from crm_platform_tests.landing.test_snapshots import REAL, Exporting, manifest_with_deals
from crm_platform_tests.quality.test_drift import DEAL, export

BEFORE, CHANGED = dt.date(2026, 3, 4), dt.date(2026, 3, 5)
MANIFEST = manifest_with_deals()
POLICIES = ("evolve", "warn", "quarantine", "freeze")
FAULTS = {
    "added": {"add": {"region": "AT"}},
    "removed": {"remove": ["employees"]},
    "renamed": {"rename": {"employees": "staff"}},
}


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path)


def take(lake, source, contract, day, now, manifest=MANIFEST):  # noqa: PLR0917  as landing takes them
    """Lands a day as the asset does; None where it was refused."""
    drift = drift_of(contract, values_before(lake, contract, day))
    told = {"drift": drift, "record": recorder(lake, contract), "clock": lambda: now}
    try:
        return land_snapshot(lake, source, manifest, contract, day, **told)
    except DriftError:
        return None


@pytest.fixture(scope="module", params=FAULTS)
def changing(request, tmp_path_factory):
    """A sandbox whose opportunities change in one way from the second day on."""
    faults = {"schema_change": {"object": "account", "day": CHANGED, **FAULTS[request.param]}}
    folder = tmp_path_factory.mktemp("sandbox")
    with small_sandbox(load_manifest("sandbox"), folder, faults=faults) as source:
        yield request.param, source


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sandbox_that_changes_its_columns_is_met_as_the_policy_says(lake, changing, policy):
    kind, source = changing
    manifest = load_manifest("sandbox")
    contract = contracts_in(manifest.contracts)["account"]
    contract = replace(contract, policies=replace(contract.policies, **{kind: policy}))
    now = dt.datetime.combine(CHANGED + dt.timedelta(days=1), dt.time(1), dt.UTC)
    first = take(lake, source, contract, BEFORE, now, manifest)
    report = take(lake, source, contract, CHANGED, now, manifest)
    found = landed_drift(lake, manifest, contract, [BEFORE, CHANGED])

    assert first is not None
    assert first.rows > 5
    assert first.refused == 0
    verdicts = {"evolve": ("warn", []), "freeze": ("error", [CHANGED])}
    assert (found.severity, found.failed_days) == verdicts.get(policy, ("warn", [CHANGED]))
    said = next(finding for finding in found.findings if finding.day == CHANGED)
    assert said.examples is not None
    assert said.examples.select("difference", "policy").row(0) == (kind, policy)
    assert said.facts["since_2026-03-04"].get_column("verdict").to_list()
    assert list(schemas_by_day(lake, "account")) == [BEFORE, CHANGED]

    if policy == "freeze":
        assert report is None
        assert kept_days(lake, "account") == [CHANGED]
        return
    assert report is not None
    landed = lake.scan("landing/snapshot/account", days=[CHANGED], schema=contract.snapshot_schema).collect()
    if policy == "quarantine":
        assert (report.rows, report.refused > 5) == (0, True)
        rules = lake.scan("quarantine/account", schema=QUARANTINE).select("rule").unique().collect()
        assert rules.item() == f"{kind}: {'region' if kind == 'added' else 'employees'}"
        return
    assert (report.rows > 5, report.refused) == (True, 0)
    assert landed.get_column("employees").is_null().all() == (kind == "removed")
    assert landed.get_column("_extra").unique().to_list() == [('{"region":"AT"}' if kind == "added" else None)]


DAY = dt.date(2026, 3, 4)
NOW = dt.datetime(2026, 3, 5, 1, tzinfo=dt.UTC)
ODD = {
    "nulls": export(owner_id=["mia", None]),
    "categories": export(stage=["parked", "won"]),
    "retyped": export(amount=["much", "more"]),
    "removed": export(owner_id=pl.lit(None, pl.String)),
}


def dealt(kind, policy):
    return replace(DEAL, policies=Policies(**{kind: policy}))


@pytest.mark.parametrize(
    ("kind", "policy", "rows", "waiting", "severity", "failed"),
    [
        ("nulls", "evolve", 2, 0, "warn", False),
        ("nulls", "warn", 2, 0, "warn", True),
        ("nulls", "quarantine", 1, 1, "warn", True),
        ("nulls", "freeze", 0, 0, "error", True),
        ("categories", "evolve", 2, 0, "warn", False),
        ("categories", "warn", 2, 0, "warn", True),
        ("categories", "quarantine", 1, 1, "warn", True),
        ("categories", "freeze", 0, 0, "error", True),
        ("retyped", "quarantine", 0, 2, "warn", True),
        ("retyped", "freeze", 0, 0, "error", True),
        ("removed", "quarantine", 0, 2, "warn", True),
        ("removed", "freeze", 0, 0, "error", True),
    ],
)
def test_values_that_differ_are_met_as_the_policy_says(lake, kind, policy, rows, waiting, severity, failed):  # noqa: PLR0917  one case
    contract = dealt(kind, policy)
    report = take(lake, Exporting([ODD[kind]]), contract, DAY, dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC))
    assert (0, 0) if report is None else (report.rows, report.refused) == (rows, waiting)
    assert (report is None) == (policy == "freeze")
    found = landed_drift(lake, MANIFEST, contract, [DAY])
    assert (found.severity, not found.passed) == (severity, failed)


def test_a_key_without_a_value_never_lands_whatever_the_policy(lake):
    contract = dealt("nulls", "evolve")
    report = take(lake, Exporting([export(id=["1", None])]), contract, DAY, NOW - dt.timedelta(hours=13))
    assert report is not None
    assert (report.rows, report.refused) == (1, 1)


def test_a_rename_that_waits_is_confirmed_by_releasing_its_rows(lake):
    contract = dealt("renamed", "quarantine")
    odd = export().rename({"owner_id": "ownerid"})
    report = take(lake, Exporting([odd]), contract, DAY, NOW - dt.timedelta(hours=13))
    assert report is not None
    assert (report.rows, report.refused) == (0, 2)
    released = release_quarantined(
        lake, MANIFEST, {"deal": contract}, "deal", released_by="me", ingested_at=lambda: REAL
    )
    assert released.released == 2
    landed = lake.scan("landing/changes/deal", schema=contract.change_schema).sort("entity_id").collect()
    assert landed.get_column("owner_id").to_list() == ["mia", "leo"]


def test_what_a_policy_admits_is_no_broken_contract_further_on(lake):
    contract = replace(DEAL, policies=Policies(nulls="evolve", categories="evolve"))
    odd = export(owner_id=["mia", None], stage=["parked", "won"])
    take(lake, Exporting([odd]), contract, DAY, NOW - dt.timedelta(hours=13))
    build_history(lake, MANIFEST, {"deal": contract}, "deal", [DAY])
    found = versions_keep_contract(lake, contract, [DAY])
    assert found.passed
    assert not versions_keep_contract(lake, DEAL, [DAY]).passed or found.total == 0


def test_a_rename_is_believed_from_values_of_the_export_before_and_doubted_where_they_differ(lake):
    many = pl.concat(export(id=[str(n), f"x{n}"], owner_id=[f"o{n}", f"p{n}"]) for n in range(9))
    take(lake, Exporting([many]), DEAL, DAY, dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC))
    drift = drift_of(DEAL, values_before(lake, DEAL, DAY + dt.timedelta(days=1)))
    (renamed,) = drift(many.rename({"owner_id": "seller"}))
    assert str(renamed) == (
        "owner_id renamed: expected owner_id, found seller, which looks like it: 100% of the entities have the value they had"
    )
    others = many.rename({"owner_id": "owner_ids"}).with_columns(owner_ids=pl.lit("q") + pl.col("id"))
    assert [(one.column, one.kind) for one in drift(others)] == [("owner_id", "removed"), ("owner_ids", "added")]
