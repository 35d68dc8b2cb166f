"""Which tables Dagster keeps an eye on, and what its freshness daemon makes of them: the real daemon, a real instance."""

import datetime as dt
import time

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.freshness import FreshnessDaemon

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.settings import load_settings
from crm_platform.sources.loading import BUNDLED

DAY = dt.timedelta(days=1)
LEADS, GATE = dg.AssetKey(["features", "lead"]), dg.AssetKey(["gate", "red"])


def settings_in(folder, *, clock="system", last_day=None):
    """The sandbox's CRM, as one that the system's clock holds for, with days that go on or end."""
    manifest = (BUNDLED / "sandbox.yaml").read_text(encoding="utf-8").replace("clock: head", f"clock: {clock}")
    (folder / "crm.yaml").write_text(manifest, encoding="utf-8")
    end = "" if last_day is None else f"last_day: {last_day}\n"
    text = f"source: {folder / 'crm.yaml'}\nlake: lake\nfirst_day: 2026-03-01\n{end}"
    (folder / "crm_platform.yaml").write_text(text, encoding="utf-8")
    return load_settings(folder / "crm_platform.yaml")


def policies(settings):
    graph = build_defs(settings).get_repository_def().asset_graph
    return {key.to_user_string(): graph.get(key).freshness_policy for key in graph.get_all_asset_keys()}


def test_every_table_but_the_gate_is_to_be_written_within_a_day_and_two_hours(tmp_path):
    told = policies(settings_in(tmp_path))
    assert {key for key, policy in told.items() if policy is None} == {"gate/red"}
    windows = {policy.fail_window.to_timedelta() for policy in told.values() if policy is not None}
    assert windows == {dt.timedelta(hours=26)}


@pytest.mark.parametrize("still", [{"clock": "head"}, {"last_day": "2026-04-29"}])
def test_nothing_is_overdue_where_nothing_new_can_come(tmp_path, still):
    assert set(policies(settings_in(tmp_path, **still)).values()) == {None}


def states(instance, workspace, moment):
    """What the daemon makes of two tables at a moment."""
    with freeze_time(moment):
        list(FreshnessDaemon().run_iteration(workspace))
    told = instance.get_freshness_state_records([LEADS, GATE])
    return {key.to_user_string(): record.freshness_state for key, record in told.items()}


def test_the_daemon_tells_a_table_that_nobody_wrote_and_any_day_of_it_counts(tmp_path):
    """Written with a past day it is fresh again: a backfill hides that today is missing, which `freshness` then tells."""
    settings_in(tmp_path)
    code = tmp_path / "location.py"
    code.write_text(
        "from pathlib import Path\n"
        "from crm_platform.defs.assembly import build_defs\n"
        "from crm_platform.defs.settings import load_settings\n"
        "defs = build_defs(load_settings(Path(__file__).with_name('crm_platform.yaml')))\n",
        encoding="utf-8",
    )
    target = PythonFileTarget(str(code), attribute="defs", working_directory=str(tmp_path), location_name="crm")
    began = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        create_test_daemon_workspace_context(target, instance) as workspace,
    ):
        nothing = states(instance, workspace, began)
        assert nothing == {"features/lead": FreshnessState.UNKNOWN, "gate/red": FreshnessState.NOT_APPLICABLE}
        instance.report_runless_asset_event(dg.AssetMaterialization(LEADS, partition="2026-03-02"))
        assert states(instance, workspace, began + DAY)["features/lead"] == FreshnessState.PASS
        assert states(instance, workspace, began + DAY * 2)["features/lead"] == FreshnessState.FAIL
        instance.report_runless_asset_event(dg.AssetMaterialization(LEADS, partition="2026-03-01"))
        assert states(instance, workspace, began + DAY)["features/lead"] == FreshnessState.PASS
