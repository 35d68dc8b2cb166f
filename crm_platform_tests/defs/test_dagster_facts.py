"""What the shell relies on in Dagster and Dagster does not promise: each test fails when upstream changes it."""

import datetime as dt

import dagster as dg
import pytest
from dagster import AssetCheckKey
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import InstigatorType, TickStatus

from crm_platform.defs.days import SINGLE_RUN, range_tags
from crm_platform.defs.report import QUIET, written
from crm_platform.defs.tables import asset_of
from crm_platform_tests.defs.ticking import sensor_in, tell_ticks

DAYS = dg.DailyPartitionsDefinition(start_date="2026-03-01", end_date="2026-03-10")
FIVE = range_tags(dt.date(2026, 3, 1), dt.date(2026, 3, 5))


def table(name: str, **more):
    """An asset as our tables are."""
    return asset_of(dg.AssetSpec(name, partitions_def=DAYS, **more))


def dates(*numbers: int) -> dict[dt.date, dict]:
    return {dt.date(2026, 3, number): {"rows": number} for number in numbers}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as ours:
        yield ours


def run(instance, assets, checks=()):
    job = dg.Definitions(assets=assets, asset_checks=list(checks)).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, tags=FIVE, raise_on_error=False)


def partitions(instance, name):
    return sorted(instance.get_materialized_partitions(dg.AssetKey(name)))


def test_a_quiet_output_marks_only_the_days_that_were_logged_and_lets_the_downstream_run(instance):
    ran = []

    @table("up")
    def up(context):
        yield from written(context.asset_key, dates(1, 2, 3))

    @table("down", deps=["up"])
    def down(context):
        ran.append(len(context.partition_keys))
        yield from written(context.asset_key, dates(1, 2))

    result = run(instance, [up, down])
    assert result.success
    assert partitions(instance, "up") == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert partitions(instance, "down") == ["2026-03-01", "2026-03-02"]
    assert ran == [5]
    event = instance.get_latest_materialization_event(dg.AssetKey("up"))
    assert event.asset_materialization.metadata["dagster/partition_row_count"].value == 3


def test_without_the_quiet_output_dagster_marks_the_whole_range(instance):
    @dg.asset(partitions_def=DAYS, backfill_policy=SINGLE_RUN, dagster_type=dg.Nothing)
    def up():
        yield dg.Output(None)

    assert run(instance, [up]).success
    assert len(partitions(instance, "up")) == 5
    assert QUIET


def test_evaluations_are_recorded_per_partition_and_a_warning_summary_lets_the_good_days_go_on(instance):
    ran = []

    @table("up")
    def up(context):
        yield from written(context.asset_key, dates(1, 2))

    @dg.asset_check(asset=up, name="rule", blocking=True, partitions_def=DAYS)
    def rule(context):
        ran.append("check")
        for key in context.partition_keys:
            yield dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey("up"), check_name="rule", passed=key != "2026-03-02", partition=key
            )
        yield dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    @table("down", deps=["up"])
    def down(context):
        ran.append("down")
        yield from written(context.asset_key, dates(1))

    result = run(instance, [up, down], [rule])
    assert result.success
    assert ran == ["check", "down"]
    history = instance.event_log_storage.get_asset_check_execution_history(
        AssetCheckKey(dg.AssetKey("up"), "rule"), limit=10
    )
    recorded = {record.partition: record.status.value for record in history}
    assert recorded == {
        None: "FAILED",
        "2026-03-01": "SUCCEEDED",
        "2026-03-02": "FAILED",
        "2026-03-03": "SUCCEEDED",
        "2026-03-04": "SUCCEEDED",
        "2026-03-05": "SUCCEEDED",
    }


def test_an_error_summary_of_a_blocking_check_stops_every_day_of_the_downstream(instance):
    ran = []

    @table("up")
    def up(context):
        yield from written(context.asset_key, dates(1))

    @dg.asset_check(asset=up, name="rule", blocking=True, partitions_def=DAYS)
    def rule():
        yield dg.AssetCheckResult(passed=False)

    @dg.asset(deps=[up], partitions_def=DAYS, backfill_policy=SINGLE_RUN, dagster_type=dg.Nothing)
    def down():
        ran.append("down")
        yield dg.Output(None, metadata=QUIET)

    assert not run(instance, [up, down], [rule]).success
    assert ran == []


def test_ticks_of_a_sensor_are_found_by_their_selector_the_newest_first_and_by_status(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        state = sensor_in(instance, "new_changes")
        tell_ticks(instance, state, [TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.FAILURE, TickStatus.STARTED])
        (found,) = instance.all_instigator_state()
        assert (found.name, found.is_running, found.instigator_type) == ("new_changes", True, InstigatorType.SENSOR)
        over = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
        ticks = instance.get_ticks(found.instigator_origin_id, found.selector_id, limit=2, statuses=over)
        assert [(tick.status, tick.timestamp) for tick in ticks] == [
            (TickStatus.FAILURE, 3.0),
            (TickStatus.FAILURE, 2.0),
        ]


def test_backfills_that_the_daemon_gave_up_are_found_by_their_status(instance):
    given_up = PartitionBackfill(
        backfill_id="abc",
        status=BulkActionStatus.FAILED,
        from_failure=False,
        tags={},
        backfill_timestamp=1.0,
        asset_selection=[dg.AssetKey("up")],
        backfill_end_timestamp=2.0,
    )
    instance.add_backfill(given_up)
    (found,) = instance.get_backfills(status=BulkActionStatus.FAILED, limit=5)
    assert (found.backfill_id, found.backfill_end_timestamp, found.asset_selection) == ("abc", 2.0, [dg.AssetKey("up")])
    assert instance.get_backfills(status=BulkActionStatus.COMPLETED_SUCCESS, limit=5) == []


def test_a_tag_touches_a_run_that_ended_and_leaves_the_time_of_its_end(instance):
    @table("up")
    def up(context):
        yield from written(context.asset_key, dates(1))

    run_id = run(instance, [up]).run_id
    (before,) = instance.get_run_records(dg.RunsFilter(run_ids=[run_id]))
    instance.add_run_tags(run_id, {"dagster/did_retry": "true"})
    (after,) = instance.get_run_records(dg.RunsFilter(run_ids=[run_id], updated_after=before.update_timestamp))
    assert after.update_timestamp > before.update_timestamp
    assert after.end_time == before.end_time
