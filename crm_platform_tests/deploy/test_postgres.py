"""The production instance on a real PostgreSQL: a run's checks by partition, two runs at once, what the alerts read."""

import datetime as dt
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy.exc
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.defs.assembly import build_defs
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import SettingsError, load_settings
from crm_platform_tests.deploy.postgres import PASSWORD, postgres_running
from crm_platform_tests.pipeline import run_days, sandbox_at, settings_in

REPOSITORY = Path(__file__).parents[2]
RENAMED = {"schema_change": {"object": "owner", "day": dt.date(2026, 3, 2), "rename": {"region": "territory"}}}


def on_postgres(folder, base_url, days=2):
    """Settings whose Dagster instance is that of production."""
    (folder / "home").mkdir()
    shutil.copyfile(REPOSITORY / "deploy" / "dagster.yaml", folder / "home" / "dagster.yaml")
    path = settings_in(folder, base_url, days).folder / "crm_platform.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "dagster_home: home\n", encoding="utf-8")
    return path


def two_at_once(config):
    """Two processes that look at the same table again; their exit codes."""
    command = [sys.executable, "-m", "crm_platform.cli", "check", "history/lead", "--config", str(config)]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) for _ in range(2)]
    return [one.wait(timeout=120) for one in started]


def failures(instance):
    """Why runs or steps failed, the whole chain of errors."""
    kinds = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.STEP_FAILURE)
    logged = [entry for run in instance.get_runs() for entry in instance.all_logs(run.run_id)]
    events = [entry.get_dagster_event() for entry in logged if entry.is_dagster_event]
    return [f"{event.step_key}: {event.event_specific_data}" for event in events if event.event_type in kinds]


def evaluations(instance, run, path, name):
    """What a check of an asset came to in a run, by partition."""
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    said = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    return {one.partition: one.passed for one in said if (one.asset_key.path, one.check_name) == (path, name)}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An instance on PostgreSQL after a run of everything and two at once; what `prepare` said twice, and the alerts."""
    folder = tmp_path_factory.mktemp("postgres")
    with pytest.MonkeyPatch.context() as patch, postgres_running() as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        with sandbox_at(folder / "sandbox", days=2, accounts=10, faults=RENAMED) as base_url:
            config = on_postgres(folder, base_url)
            made = [CliRunner().invoke(main, ["prepare", "--config", str(config)]) for _ in range(2)]
            settings = load_settings(config)
            dagster_home(settings)
            defs = build_defs(settings)
            sensor = next(one for one in defs.sensors if one.name == "alerts")
            with dg.DagsterInstance.get() as instance:

                def ticked():
                    context = dg.build_sensor_context(
                        instance=instance, definitions=defs, resources={"platform": defs.resources["platform"]}
                    )
                    return sensor(context).skip_message

                before = ticked()
                assert run_days(settings, settings.first_day, settings.last_day), failures(instance)
                told = ticked()
                yield instance, made, two_at_once(config), (before, told, ticked())


def test_the_instance_keeps_everything_in_postgres_and_shows_no_password(served):
    instance, *_ = served
    told = instance.info_dict()
    kept = {told[name] for name in ("run_storage", "event_log_storage", "schedule_storage")}
    assert kept == {"PostgresRunStorage", "PostgresEventLogStorage", "PostgresScheduleStorage"}
    assert PASSWORD not in instance.info_str()


def test_prepare_makes_a_pool_with_one_slot_for_every_table_once(served):
    instance, made, *_ = served
    assert [one.exit_code for one in made] == [0, 0]
    first, again = (one.output.strip() for one in made)
    pools = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
    assert first == f"The Dagster instance is ready: {len(pools)} pools, {len(pools)} of them new."
    assert again == f"The Dagster instance is ready: {len(pools)} pools, 0 of them new."
    assert {"landing_changes", "history_lead", "features_lead", "training_lead_conversion", "gate_red"} <= pools.keys()
    assert set(pools.values()) == {1}


def test_two_runs_at_once_both_succeed_and_are_recorded(served):
    instance, _, codes, _ = served
    assert failures(instance) == []
    assert codes == [0, 0]
    assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "SUCCESS", "SUCCESS"]
    for run in instance.get_runs(limit=2):
        found = evaluations(instance, run, ["history", "lead"], "contract")
        assert found == {"2026-03-01": True, "2026-03-02": True, None: True}


def test_checks_are_read_back_by_partition(served):
    instance, *_ = served
    first = instance.get_runs()[-1]
    found = evaluations(instance, first, ["landing", "snapshot", "owner"], "schema_drift")
    assert found == {"2026-03-01": True, "2026-03-02": False, None: False}
    lead = instance.get_materialized_partitions(dg.AssetKey(["landing", "snapshot", "lead"]))
    assert lead == {"2026-03-01", "2026-03-02"}


def test_the_alerts_read_failures_from_postgres_and_tell_them_once(served):
    *_, (before, after, again) = served
    assert before == "From now on what goes wrong is told."
    told = [line.split(" (")[0] for line in after.split("; ")]
    assert told[:2] == [
        "check_failed: gate/red nothing_red",
        "check_failed: landing/snapshot/owner schema_drift on 2026-03-02",
    ]
    assert again == "Nothing new since the last tick."


def test_dagster_loses_a_run_that_makes_a_pool_which_another_has_made_since(served):
    """Why `prepare` is there; when this fails, Dagster has mended it, and `prepare` may go."""
    storage = served[0].event_log_storage
    assert storage.initialize_concurrency_limit_to_default("made_by_two_runs")
    with pytest.raises(sqlalchemy.exc.InternalError, match="current transaction is aborted"):
        storage.initialize_concurrency_limit_to_default("made_by_two_runs")
    storage.delete_concurrency_limit("made_by_two_runs")


def test_dagster_takes_a_driver_that_is_not_there_unless_the_scheme_names_one():
    """Why deploy/dagster.yaml and the Helm values name a scheme."""
    with pytest.raises(ModuleNotFoundError, match="psycopg"):
        sqlalchemy.create_engine("postgresql://somebody@127.0.0.1/dagster")


def test_a_configured_instance_without_settings_is_an_error(tmp_path):
    path = settings_in(tmp_path, "http://127.0.0.1:1", 2).folder / "crm_platform.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "dagster_home: elsewhere\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"elsewhere as dagster_home, and there is no dagster\.yaml in it"):
        dagster_home(load_settings(path))
