"""The laptop's event log is Dagster's, and does not start over at every event."""

import dagster as dg
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
        key = dg.AssetCheckKey(dg.AssetKey("table"), "looks_well")
        found = theirs.get_asset_check_execution_history(key, limit=20)
        assert instance.get_materialized_partitions(dg.AssetKey("table")) == set(DAYS.get_partition_keys())
    assert read == written
    assert {one.partition for one in found} == {*DAYS.get_partition_keys(), None}
    assert {one.status.value for one in found} == {"SUCCEEDED"}


def test_one_engine_serves_all_events_of_a_file(tmp_path):
    (tmp_path / "other").mkdir()
    log = SqliteEventLog.from_config_value(None, {"base_dir": str(tmp_path)})
    with dg.DagsterInstance.local_temp(str(tmp_path / "other")) as instance:
        done = run(instance)
        for entry in instance.all_logs(done.run_id):
            log.store_event(entry)
    assert log._engine_of.cache_info().misses == 2  # the index and the run
    assert log._engine_of.cache_info().hits > 40
    log.dispose()
