"""A day with an incompatible export stops what follows there, keeps the days before it, and goes on once it is mended."""

import datetime as dt

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.lake import Lake, audit_log, red_partitions
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in

DAYS = 6
RED = dt.date(2026, 3, 4)
BEFORE = ["2026-03-01", "2026-03-02", "2026-03-03"]
RENAMED = {"schema_change": {"object": "owner", "day": RED, "rename": {"region": "territory"}}}


def materialized(key):
    with dg.DagsterInstance.get() as instance:
        return sorted(instance.get_materialized_partitions(dg.AssetKey(key)))


@pytest.fixture
def stopped(tmp_path):
    """A lake after a run in which the export of owners changes on the fourth day."""
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=20, faults=RENAMED) as base_url:
        settings = settings_in(tmp_path, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
        yield settings


def healthy(tmp_path):
    """What the lake holds where nothing ever drifted."""
    folder = tmp_path / "healthy"
    folder.mkdir()
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=20) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
    return contents(Lake(settings.lake_root))


def test_the_red_day_is_named_with_its_column_and_the_days_before_it_are_built(stopped):
    lake = Lake(stopped.lake_root)
    red = red_partitions(lake)
    assert {(one.asset, one.check) for one in red} == {("landing/snapshot/owner", "schema_drift")}
    assert [one.day for one in red] == [RED, RED + dt.timedelta(days=1), RED + dt.timedelta(days=2)]
    assert "region" in red[0].detail
    assert "territory" in red[0].detail
    for key in (["history", "owner"], ["history", "merges"], ["features", "account"]):
        assert materialized(key) == BEFORE, key
    assert len(materialized(["history", "account"])) == DAYS
    assert lake.scan("history/owner").select(pl.col("processed_date").max()).collect().item() < RED
    assert lake.scan("features/account").select(pl.col("known_date").max()).collect().item() < RED


@pytest.mark.usefixtures("stopped")
def test_once_the_export_fits_again_everything_goes_on_as_if_nothing_had_been(tmp_path):
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=20) as mended:
        settings = settings_in(tmp_path, mended, DAYS)
        assert run_days(settings, RED, settings.last_day)
        lake = Lake(settings.lake_root)
        assert red_partitions(lake) == []
        assert len(materialized(["features", "account"])) == DAYS
        found = contents(lake)
    expected = healthy(tmp_path)
    del expected["quality/schemas"]  # it remembers the exports that could not land, and is right to
    assert {table: found[table] for table in expected} == expected


def test_a_skipped_day_goes_on_without_its_snapshot_and_the_decision_is_audited(stopped):
    config = ["--config", str(stopped.folder / "crm_platform.yaml")]
    for day in range(4, 7):
        done = CliRunner().invoke(
            main, ["snapshot", "skip", f"2026-03-0{day}", "--object", "owner", "--by", "me", *config]
        )
        assert done.exit_code == 0, done.output
    assert run_days(stopped, RED, stopped.last_day)
    lake = Lake(stopped.lake_root)
    assert red_partitions(lake) == []
    assert len(materialized(["features", "account"])) == DAYS
    said = audit_log(lake).select("actor", "action", "subject").unique().rows()
    assert said == [("me", "snapshot.skip", "landing/snapshot/owner")]
