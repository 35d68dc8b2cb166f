"""A run whose first day is red: it ends well, writes nothing of what waits, says why, and is told once."""

import dagster as dg
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.defs.assembly import build_defs
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.lake import Lake, red_partitions
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

DAYS = 3
RENAMED = {"schema_change": {"object": "owner", "day": FIRST, "rename": {"region": "territory"}}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The settings of a run whose exports of owners are renamed from its first day on, and what the alerts say of it."""
    folder = tmp_path_factory.mktemp("red")
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=12, faults=RENAMED) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        dagster_home(settings)
        defs = build_defs(settings)
        sensor = next(one for one in defs.sensors if one.name == "alerts")
        with dg.DagsterInstance.get() as instance:

            def ticked():
                resources = {"platform": defs.resources["platform"]}
                return sensor(
                    dg.build_sensor_context(instance=instance, definitions=defs, resources=resources)
                ).skip_message

            ticked()
            ended_well = run_days(settings, FIRST, settings.last_day)
            told = ticked()
            (run,) = instance.get_runs()
            lines = [entry.user_message for entry in instance.all_logs(run.run_id)]
            built = {
                table: instance.get_materialized_partitions(dg.AssetKey(table.split("/")))
                for table in ("history/owner", "history/account", "history/merges", "features/account")
            }
    return settings, ended_well, told, lines, built


def test_the_run_succeeds_and_writes_nothing_that_waits_for_the_red_day(ran):
    settings, ended_well, _, _, built = ran
    assert ended_well
    red = red_partitions(Lake(settings.lake_root))
    assert {(one.asset, one.check) for one in red} == {("landing/snapshot/owner", "schema_drift")}
    assert min(one.day for one in red) == FIRST
    assert {table: len(days) for table, days in built.items()} == {
        "history/owner": 0,
        "history/account": DAYS,
        "history/merges": 0,
        "features/account": 0,
    }
    lake = Lake(settings.lake_root)
    assert [lake.exists(table) for table in ("history/owner", "features/account")] == [False, False]


def test_its_log_says_which_day_is_red_and_why(ran):
    *_, lines, _ = ran
    for table in ("history/owner", "history/merges", "features/account"):
        said = f"{table} stops before 2026-03-01: landing/snapshot/owner of 2026-03-01 is red by schema_drift (region"
        assert [line for line in lines if line.startswith(said)], table


def test_the_alerts_tell_the_check_and_not_the_run(ran):
    told = ran[2]
    assert "check_failed: landing/snapshot/owner schema_drift on 2026-03-01" in told
    assert "run_failed" not in told


def test_once_the_days_go_without_their_export_the_same_run_builds_everything(ran):
    settings = ran[0]
    for red in red_partitions(Lake(settings.lake_root)):
        words = ["snapshot", "skip", str(red.day), "--object", "owner", "--by", "ann"]
        done = CliRunner().invoke(main, [*words, "--config", str(settings.folder / "crm_platform.yaml")])
        assert done.exit_code == 0, done.output
    with sandbox_at(settings.folder / "sandbox", days=DAYS, accounts=12, faults=RENAMED) as base_url:
        again = settings_in(settings.folder, base_url, DAYS)
        assert run_days(again, FIRST, again.last_day)
    assert red_partitions(Lake(settings.lake_root)) == []
    with dg.DagsterInstance.get() as instance:
        for table in ("history/owner", "history/merges", "features/account"):
            assert len(instance.get_materialized_partitions(dg.AssetKey(table.split("/")))) == DAYS, table
