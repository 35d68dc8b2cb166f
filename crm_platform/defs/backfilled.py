"""What failed runs and backfills were to write and did not, and whether it has been written since: asked of the Dagster instance.

What that opens and closes is decided in `crm_platform.alerts`.
"""

import datetime as dt
from collections.abc import Iterable, Mapping

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from crm_platform.alerts import Problem, Stretch, stretches
from crm_platform.alerts.problems import BACKFILL_FAILED

BACKFILLS_AT_MOST = 20
SNAPSHOTS = ["landing", "snapshot"]
PLANNED, WRITTEN = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION


def unwritten_by(instance: dg.DagsterInstance, run_id: str, since: dt.datetime) -> tuple[Stretch, ...]:
    """What a run was to write and did not; nothing where all was written, and something failed after it.

    What others wrote while it ran counts as written since. Snapshots are left out: one that was never taken is no gap, and
    nobody can take it any more.

    Args:
        instance: Where the run was.
        run_id: The run.
        since: When it began.
    """
    planned: dict[dg.AssetKey, set[str | None]] = {}
    written: dict[dg.AssetKey, set[str | None]] = {}
    for entry in instance.all_logs(run_id, of_type={PLANNED, WRITTEN}):
        event = entry.get_dagster_event()
        if event.event_type == WRITTEN:
            told = event.step_materialization_data.materialization
            written.setdefault(told.asset_key, set()).add(told.partition)
        else:
            asked = event.asset_materialization_planned_data
            days = asked.partitions_subset.get_partition_keys() if asked.partitions_subset else [asked.partition]
            planned.setdefault(asked.asset_key, set()).update(days)
    lacking = {key: days - written.get(key, set()) for key, days in planned.items() if key.path[:2] != SNAPSHOTS}
    return _as_stretches({key: {day for day in days if day} for key, days in lacking.items() if days}, since)


def given_up_backfills(instance: dg.DagsterInstance, read_to: dt.datetime) -> list[Problem]:
    """The backfills that Dagster itself gave up since then; those whose runs failed are known by their runs."""
    found = instance.get_backfills(status=BulkActionStatus.FAILED, limit=BACKFILLS_AT_MOST)
    ended = {one.backfill_id: one.backfill_end_timestamp or one.backfill_timestamp for one in found}
    return [
        _given_up(one, dt.datetime.fromtimestamp(ended[one.backfill_id], dt.UTC))
        for one in found
        if ended[one.backfill_id] > read_to.timestamp()
    ]


def unmended(instance: dg.DagsterInstance, problems: Iterable[Problem]) -> list[Problem]:
    """Those of some failed runs and backfills of which something is still to be written; and those that only a run can close."""
    return [
        problem
        for problem in problems
        if not problem.lacking or not all(_is_written(instance, stretch) for stretch in problem.lacking)
    ]


def _given_up(backfill: PartitionBackfill, ended: dt.datetime) -> Problem:
    return Problem(
        kind=BACKFILL_FAILED,
        subject=f"backfill {backfill.backfill_id}",
        since=ended,
        how_much="given up by the daemon",
        section=BACKFILL_FAILED,
        assets=tuple(sorted(key.to_user_string() for key in backfill.asset_selection or ())),
        lacking=_as_stretches(_left_by(backfill), ended),
        command=f"open the backfill {backfill.backfill_id} in the UI and choose Re-execute",
    )


def _left_by(backfill: PartitionBackfill) -> dict[dg.AssetKey, set[str]]:
    """Of every asset the days that a backfill had not written when it was given up; no days for one without."""
    told = backfill.asset_backfill_data
    if told is None:
        return {key: set() for key in backfill.asset_selection or ()}
    left = told.target_subset - told.materialized_subset
    by_day = {key: set(days.get_partition_keys()) for key, days in left.partitions_subsets_by_asset_key.items()}
    return {key: days for key, days in by_day.items() if days} | {key: set() for key in left.non_partitioned_asset_keys}


def _as_stretches(lacking: Mapping[dg.AssetKey, set[str]], since: dt.datetime) -> tuple[Stretch, ...]:
    named = sorted((key.to_user_string(), days) for key, days in lacking.items())
    return tuple(stretch for name, days in named for stretch in stretches(name, days, since))


def _is_written(instance: dg.DagsterInstance, stretch: Stretch) -> bool:
    """Whether a stretch has been written since it was found lacking."""
    key = dg.AssetKey.from_user_string(stretch.asset)
    later = dg.AssetRecordsFilter(asset_key=key, after_timestamp=stretch.since.timestamp())
    first = instance.fetch_materializations(later, limit=1, ascending=True).records
    if not first:
        return False
    if not stretch.first:
        return True
    written = instance.get_materialized_partitions(key, after_cursor=first[0].storage_id - 1)
    return written.issuperset(stretch.partitions)
