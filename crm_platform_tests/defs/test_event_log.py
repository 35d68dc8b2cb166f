"""The laptop's event log is Dagster's, and neither starts over at every event nor commits each alone."""

import sqlite3
from collections import Counter

import dagster as dg
import pytest
import sqlalchemy
import yaml
from dagster._core.storage.event_log import SqliteEventLogStorage

from crm_platform.defs.event_log import SqliteEventLog
from crm_platform.defs.sandboxed import INSTANCE_FILE

DAYS = dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-05")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def table() -> None:
    """Nothing: that it was written is the event."""


@dg.asset_check(asset=table, partitions_def=DAYS)
def looks_well(context: dg.AssetCheckExecutionContext):
    for key in context.partition_keys:
        yield dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("table"), check_name="looks_well", passed=True, partition=key
        )
    yield dg.AssetCheckResult(passed=True)


def run(instance):
    defs = dg.Definitions([table], asset_checks=[looks_well], executor=dg.in_process_executor)
    tags = {"dagster/asset_partition_range_start": "2026-03-01", "dagster/asset_partition_range_end": "2026-03-04"}
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, tags=tags)


def test_what_it_writes_dagsters_own_class_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    settings = yaml.safe_load(INSTANCE_FILE.read_text())
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"event_log_storage": settings["event_log_storage"]}))
    with dg.DagsterInstance.get() as instance:
        ours = instance.event_log_storage
        assert type(ours) is SqliteEventLog
        done = run(instance)
        written = [
            entry.dagster_event.event_type for entry in ours.get_logs_for_run(done.run_id) if entry.dagster_event
        ]
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        theirs = instance.event_log_storage
        assert type(theirs) is SqliteEventLogStorage
        read = [entry.dagster_event.event_type for entry in theirs.get_logs_for_run(done.run_id) if entry.dagster_event]
        found = theirs.get_asset_check_execution_history(CHECK, limit=20)
        assert instance.get_materialized_partitions(dg.AssetKey("table")) == set(DAYS.get_partition_keys())
    assert read == written
    assert {one.partition for one in found} == {*DAYS.get_partition_keys(), None}
    assert {one.status.value for one in found} == {"SUCCEEDED"}


CHECK = dg.AssetCheckKey(dg.AssetKey("table"), "looks_well")
FROM_A_STEP = {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "STEP_OUTPUT", "HANDLED_OUTPUT"}
PLANNED = {"ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION_PLANNED"}


@pytest.fixture
def told(tmp_path):
    """The events of a run, in order."""
    with dg.DagsterInstance.local_temp(str(tmp_path / "other")) as instance:
        return instance.all_logs(run(instance).run_id)


@pytest.fixture
def opened(tmp_path):
    """Opens a log of ours, again and again the same."""
    (tmp_path / "ours").mkdir()
    logs = []

    def again():
        logs.append(SqliteEventLog.from_config_value(None, {"base_dir": str(tmp_path / "ours")}))
        return logs[-1]

    yield again
    for log in logs:
        log.dispose()


@pytest.fixture(autouse=True)
def other(tmp_path):
    """A folder for the instance whose events are taken."""
    (tmp_path / "other").mkdir()


def named(events):
    return [event.dagster_event.event_type_value for event in events if event.dagster_event]


def test_one_engine_serves_all_events_of_a_file(told, opened):
    log = opened()
    for entry in told:
        log.store_event(entry)
    assert log._engine_of.cache_info().misses == 2  # the index and the run
    assert log._engine_of.cache_info().hits > 10


def test_a_steps_events_are_committed_at_once(told, opened):
    log, commits = opened(), Counter()
    for shard in ("index", told[0].run_id):
        sqlalchemy.event.listen(log._engine_of(shard), "commit", lambda _, shard=shard: commits.update([shard]))
    crowd = [entry for entry in told if named([entry])[0] in FROM_A_STEP | PLANNED]
    others = [entry for entry in told if named([entry])[0] not in FROM_A_STEP | PLANNED]
    assert len(crowd) > 15
    log.get_logs_for_run(told[0].run_id)  # makes the files
    commits.clear()
    for entry in [*crowd, others[-1]]:
        log.store_event(entry)
    assert commits == {told[0].run_id: 1, "index": 1}


def test_what_a_step_yields_is_seen_by_others_once_the_step_has_ended(told, opened):
    ours, theirs = opened(), opened()
    run_id = told[0].run_id
    end = named(told).index("STEP_SUCCESS")
    for entry in told[:end]:
        ours.store_event(entry)
    assert named(theirs.get_logs_for_run(run_id))[-1] not in FROM_A_STEP
    ours.store_event(told[end])
    assert named(theirs.get_logs_for_run(run_id)) == named(told[: end + 1])


def test_who_wrote_it_sees_it_at_once(told, opened):
    log = opened()
    written = next(number for number, name in enumerate(named(told)) if name == "ASSET_MATERIALIZATION")
    for entry in told[: written + 1]:
        log.store_event(entry)
    assert log.get_materialized_partitions(dg.AssetKey("table")) == {told[written].dagster_event.partition}


def test_an_event_that_is_refused_takes_no_other_with_it(told, opened):
    log = opened()
    run_id = told[0].run_id
    planned = [entry for entry in told if named([entry])[0] in PLANNED]
    evaluated = [entry for entry in told if named([entry]) == ["ASSET_CHECK_EVALUATION"]]
    twice = planned[named(planned).index("ASSET_CHECK_EVALUATION_PLANNED")]
    for entry in [*planned, twice, *evaluated]:
        log.store_event(entry)
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="asset_check_executions"):
        log.store_event(told[-1])
    assert named(log.get_logs_for_run(run_id)) == named([*planned, twice, *evaluated, told[-1]])
    found = log.get_asset_check_execution_history(CHECK, limit=20)
    assert {one.status.value for one in found} == {"SUCCEEDED"}


def test_what_cannot_be_written_now_waits_on(told, opened, monkeypatch):
    monkeypatch.setattr("crm_platform.defs.event_log.SQLITE_BUSY_TIMEOUT_SECONDS", 0.1)
    log = opened()
    run_id = told[0].run_id
    end = named(told).index("STEP_SUCCESS")
    for entry in told[:end]:
        log.store_event(entry)
    with sqlite3.connect(log.path_for_shard("index"), isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlalchemy.exc.OperationalError, match="locked"):
            log.store_event(told[end])
        holder.execute("ROLLBACK")
    holder.close()
    log.store_event(told[-1])
    assert named(log.get_logs_for_run(run_id)) == named([*told[:end], told[-1]])
