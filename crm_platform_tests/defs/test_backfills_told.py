"""A failed run or backfill is told until what it was to write is written: a run that succeeds proves nothing by itself."""

import datetime as dt

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from crm_platform.defs.days import range_tags
from crm_platform.defs.report import written
from crm_platform.defs.tables import asset_of
from crm_platform_tests.defs.test_alerting import DAYS, checked

__all__ = ["checked"]
THREE = range_tags(dt.date(2026, 3, 1), dt.date(2026, 3, 3))
BACKFILL = {"dagster/backfill": "abc"}
QUIET = "Nothing new since the last tick."
OPENED = "backfill_failed: backfill abc on 2026-03-01...2026-03-03 (failed in {}), since "
CLOSED = "well again: backfill_failed: backfill abc on 2026-03-01...2026-03-03, open since "


def table(name, days, *, fails=False, **more):
    """An asset as our tables are: it writes some days of those it was asked for, and may then fail."""

    @asset_of(dg.AssetSpec(name.split("/"), partitions_def=DAYS, **more))
    def body(context):
        told = {dt.date(2026, 3, day): {"rows": day} for day in days}
        yield from written(context.asset_key, told)
        if fails:
            raise dg.Failure("no room left")

    return body


def run(checked, *tables, tags=THREE):
    job = dg.define_asset_job("job", list(tables)).resolve(
        asset_graph=dg.Definitions(assets=list(tables)).resolve_asset_graph()
    )
    return job.execute_in_process(instance=checked.instance, tags=tags, raise_on_error=False)


def test_it_is_well_again_once_every_day_is_written_not_when_a_run_over_them_succeeds(checked):
    run(checked, table("up", [1], fails=True), tags=THREE | BACKFILL)
    assert checked.tick().startswith(OPENED.format("up"))
    assert run(checked, table("up", [])).success  # as where a red day stops it
    assert checked.tick() == QUIET
    assert run(checked, table("up", [2])).success
    assert checked.tick() == QUIET
    run(checked, table("up", [3], fails=True), tags={"dagster/partition": "2026-03-03"})
    assert CLOSED in checked.tick()


def test_a_failed_run_is_well_again_once_what_it_did_not_write_is_not_when_one_like_it_stops_before_a_red_day(checked):
    failed = "run_failed: job on 2026-03-01...2026-03-03"
    up, down = table("up", [1], fails=True), table("down", [1, 2, 3], deps=["up"])
    run(checked, up, down)
    assert checked.tick().startswith(f"{failed} (failed in up), since ")
    assert run(checked, table("up", []), table("down", [], deps=["up"])).success
    assert checked.tick() == QUIET
    assert run(checked, table("up", [2, 3]), table("down", [1, 2], deps=["up"])).success
    assert checked.tick() == QUIET
    assert run(checked, table("down", [3])).success
    assert checked.tick().startswith(f"well again: {failed}, open since ")


def test_what_another_run_wrote_while_a_run_was_failing_is_written(checked):
    @asset_of(dg.AssetSpec("up", partitions_def=DAYS))
    def overtaken(context):
        assert run(checked, table("up", [1, 2, 3])).success
        yield from written(context.asset_key, {})
        raise dg.Failure("the other was faster")

    assert not run(checked, overtaken).success
    assert checked.tick() == QUIET


def test_a_snapshot_that_was_not_taken_is_not_waited_for(checked):
    up, exported = table("up", [1, 2, 3]), table("landing/snapshot/lead", [], fails=True)
    run(checked, up, exported)
    assert checked.tick().startswith("run_failed: job on 2026-03-01...2026-03-03 (failed in landing__snapshot__lead)")
    assert run(checked, table("up", []), table("landing/snapshot/lead", [])).success
    assert checked.tick().startswith("well again: run_failed: job on 2026-03-01...2026-03-03, open since ")


def test_of_tables_in_a_row_only_those_that_were_not_written_have_to_be(checked):
    up, down = table("up", [1, 2, 3]), table("down", [1], deps=["up"], fails=True)
    run(checked, up, down, tags=THREE | BACKFILL)
    assert checked.tick().startswith(OPENED.format("down"))
    assert run(checked, up).success
    assert checked.tick() == QUIET
    assert run(checked, table("down", [2, 3])).success
    assert checked.tick().startswith(CLOSED)


def test_where_all_was_written_before_it_failed_a_run_that_succeeds_closes_it(checked):
    run(checked, table("up", [1, 2, 3], fails=True), tags=THREE | BACKFILL)
    assert checked.tick().startswith(OPENED.format("up"))
    assert run(checked, table("up", [])).success
    assert checked.tick().startswith(CLOSED)


def test_a_table_without_days_is_well_again_once_it_is_written(checked):
    @dg.asset
    def whole():
        raise dg.Failure("no room left")

    run(checked, whole, tags=BACKFILL)
    assert checked.tick().startswith("backfill_failed: backfill abc (failed in whole), since ")

    @dg.asset(name="whole")
    def mended() -> None:
        """Is written."""

    assert run(checked, mended, tags={}).success
    assert checked.tick().startswith("well again: backfill_failed: backfill abc, open since ")


def given_up(*tables, target, done):
    """A backfill as the daemon leaves it when it gives up: what it was to write, and what of it was written."""
    graph = dg.Definitions(assets=list(tables)).resolve_asset_graph()
    keys = [one.key for one in tables]

    def subset(days):
        told = {AssetKeyPartitionKey(key, f"2026-03-0{day}") for key in keys for day in days}
        return AssetGraphSubset.from_asset_partition_set(told, graph)

    begun = dt.datetime.now(dt.UTC)
    left = AssetBackfillData.empty(subset(target), begun.timestamp(), None)
    return PartitionBackfill(
        backfill_id="abc",
        status=BulkActionStatus.FAILED,
        from_failure=False,
        tags={},
        backfill_timestamp=begun.timestamp(),
        asset_selection=keys,
        asset_backfill_data=left._replace(materialized_subset=subset(done)),
        backfill_end_timestamp=begun.timestamp(),
    )


def test_one_that_the_daemon_gave_up_is_well_again_once_what_it_left_is_written(checked):
    up = table("up", [])
    assert run(checked, table("up", [1, 5])).success  # the one day that is left was written before, too
    assert checked.tick() == QUIET
    checked.instance.add_backfill(given_up(up, target=[1, 2, 5], done=[1]))
    assert checked.tick().startswith("backfill_failed: backfill abc (given up by the daemon), since ")
    assert run(checked, up).success
    assert checked.tick() == QUIET
    assert run(checked, table("up", [2])).success
    assert checked.tick() == QUIET
    assert run(checked, table("up", [5]), tags={"dagster/partition": "2026-03-05"}).success
    assert checked.tick().startswith("well again: backfill_failed: backfill abc, open since ")
    assert checked.tick() == QUIET
