"""A real CRM without exports, from its recorded log: its days are judged, nothing of it warns, and what is bent is told."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from crm_platform.contracts import contracts_in
from crm_platform.history.build import build_history
from crm_platform.lake import Lake
from crm_platform.landing import land_changes, watermark
from crm_platform.quality.result import CheckResult
from crm_platform.quality.values import value_drift
from crm_platform.quality.volume import volume
from crm_platform.sources import load_manifest, recorded_log

LOG = Path(__file__).parents[2] / "data/samples/bottlecrm/events.jsonl.gz"
MANIFEST = load_manifest("bottlecrm")
CONTRACTS = contracts_in(MANIFEST.contracts)
DAYS = [dt.date(2026, 1, 5) + dt.timedelta(days=n) for n in range(120)]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    found = Lake(tmp_path_factory.mktemp("bottlecrm"))
    source = recorded_log(LOG, MANIFEST)
    land_changes(found, source, MANIFEST, CONTRACTS, until=source.head().time + dt.timedelta(microseconds=1))
    for name in MANIFEST.objects:
        build_history(found, MANIFEST, CONTRACTS, name, DAYS, watermark=watermark(found))
    return found


def drift(lake: Lake, name: str) -> CheckResult:
    return value_drift(lake, CONTRACTS[name], DAYS, has_exports=False, references=MANIFEST.references_of(name))


@pytest.mark.parametrize("name", MANIFEST.objects)
def test_nothing_of_a_healthy_recorded_log_warns(lake, name):
    for found in (drift(lake, name), volume(lake, CONTRACTS[name], DAYS)):
        assert [(one.day, one.what) for one in found.findings if not one.passed] == []


def test_its_days_are_judged_once_there_are_three_samples_before_them(lake):
    found = drift(lake, "lead")
    judged = [one.day for one in found.findings if "warming_up" not in one.facts]
    assert (judged[0], len(judged)) == (dt.date(2026, 4, 7), 22)
    assert found.findings[-1].facts["compared"] == "106 rows since 2026-04-10: this day alone has too few"


def test_a_month_in_which_every_lead_comes_from_one_place_is_told(lake):
    table, days = "history/lead", [day for day in DAYS if day >= dt.date(2026, 4, 6)]
    rows = lake.scan(table, days=days).collect()
    bent = Lake(lake.root)
    bent.replace(table, rows.with_columns(source=pl.lit("fair")), days=days)
    found = drift(bent, "lead")
    bent.replace(table, rows, days=days)
    assert "psi source" in found.findings[-1].examples.get_column("measure").to_list()
