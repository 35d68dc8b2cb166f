"""What the alerts ask the Dagster instance: how runs ended, what checks said, what hangs, which ticks fail, what is late.

Answers are values of `crm_platform.alerts`; what they amount to is decided there. Every question is bounded.
"""

import datetime as dt
from collections.abc import Collection, Sequence

import dagster as dg
from dagster._core.errors import DagsterAssetCheckFailedError
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.scheduler.instigation import InstigatorState, InstigatorType, TickStatus

from crm_platform.alerts import Ended, Evaluated, Problem
from crm_platform.alerts.problems import PARTITION_LATE, RUN_STUCK, SENSOR_FAILING, listed
from crm_platform.defs.backfilled import unwritten_by
from crm_platform.defs.platform import Platform
from crm_platform.lake import Lake, first_red_day
from crm_platform.landing import watermark

RUNS_AT_ONCE = 50
HANGING_AT_MOST = 200
FAILURES_IN_A_ROW = 3
OVERLAP = dt.timedelta(minutes=1)
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
GOING = [
    dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING,
]  # fmt: skip
WHOLE = "__ASSET_JOB"
FIRST_TAG, LAST_TAG = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
MODULE = "-m crm_platform.definitions"


def newest_end(instance: dg.DagsterInstance) -> dt.datetime:
    """When the last run ended; long ago if none has."""
    newest = instance.get_run_records(dg.RunsFilter(statuses=ENDED), limit=1, order_by="update_timestamp")
    return newest[0].update_timestamp if newest else BEGINNING


def ended_runs(instance: dg.DagsterInstance, read_to: dt.datetime, seen: Collection[str]) -> list[dg.RunRecord]:
    """The runs that ended since and are not known, by when they were touched last: at most fifty, the oldest first."""
    since = dg.RunsFilter(statuses=ENDED, updated_after=read_to - OVERLAP)
    most = RUNS_AT_ONCE + len(seen)
    found = instance.get_run_records(since, limit=most, order_by="update_timestamp", ascending=True)
    return [run for run in found if run.dagster_run.run_id not in seen]


def is_news(run: dg.RunRecord, read_to: dt.datetime) -> bool:
    """Whether a run ended lately; one that ended long ago was only tagged, as a retry does."""
    return run.end_time is None or run.end_time >= (read_to - OVERLAP).timestamp()


def evaluations(instance: dg.DagsterInstance, run_id: str) -> list[Evaluated]:
    """What the checks of a run said."""
    found: list[Evaluated] = []
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        said = entry.get_dagster_event().asset_check_evaluation_data
        found.append(
            Evaluated(
                run_id=run_id,
                asset=said.asset_key.to_user_string(),
                check=said.check_name,
                partition=said.partition,
                passed=said.passed,
                at=_moment(entry.timestamp),
                failing=_count(said, "failing_rows"),
                total=_count(said, "total_rows"),
            )
        )
    return found


def _count(said: dg.AssetCheckEvaluation, name: str) -> int | None:
    value = said.metadata[name].value if name in said.metadata else None
    return value if isinstance(value, int) else None


def ended(instance: dg.DagsterInstance, record: dg.RunRecord) -> Ended | None:
    """How a run ended; None for one that was cancelled, or that Dagster starts again by itself."""
    run = record.dagster_run
    failed = run.status == dg.DagsterRunStatus.FAILURE
    if run.status == dg.DagsterRunStatus.CANCELED or (failed and run.tags.get("dagster/will_retry") == "true"):
        return None
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE) if failed else []
    at = record.update_timestamp if record.end_time is None else _moment(record.end_time)
    begun = record.create_timestamp if record.start_time is None else _moment(record.start_time)
    first, last = _days(run)
    assets = tuple(sorted(key.to_user_string() for key in run.asset_selection or ()))
    return Ended(
        run_id=run.run_id,
        passed=not failed,
        at=at,
        job=run.job_name,
        assets=assets,
        first=first,
        last=last,
        backfill=run.tags.get("dagster/backfill"),
        steps=tuple(dict.fromkeys(step.step_key for step in steps if step.step_key)),
        lacking=unwritten_by(instance, run.run_id, begun) if failed else (),
        checks_ended=bool(steps) and all(_by_check(step.get_dagster_event().step_failure_data) for step in steps),
        command=_again(run.job_name, assets, first, last),
    )


def _by_check(failure: StepFailureData) -> bool:
    """Whether a step failed because a check that may stop the run did not pass."""
    return failure.error is not None and failure.error.cls_name == DagsterAssetCheckFailedError.__name__


def _days(run: dg.DagsterRun) -> tuple[str, str]:
    day = run.tags.get("dagster/partition", "")
    return run.tags.get(FIRST_TAG, day), run.tags.get(LAST_TAG, day)


def _again(job: str, assets: Sequence[str], first: str, last: str) -> str:
    """The command that does what a run was to do."""
    if assets:
        chosen = " or ".join(f"key:{asset}" for asset in assets)
        days = "" if not first else f" --partition {first}" if first == last else f" --partition-range {first}...{last}"
        return f"dagster asset materialize {MODULE} --select '{chosen}'{days}"
    tags = f' --tags \'{{"{FIRST_TAG}": "{first}", "{LAST_TAG}": "{last}"}}\'' if first else ""
    return f"dagster job execute {MODULE} -j {job}{tags}"


def stuck_runs(instance: dg.DagsterInstance, now: dt.datetime, after: dt.timedelta) -> list[Problem]:
    """The runs that were made long ago and have not ended."""
    made = dg.RunsFilter(statuses=GOING, created_before=now - after)
    return [
        Problem(
            kind=RUN_STUCK,
            subject=f"{run.dagster_run.job_name} {run.dagster_run.run_id}",
            place="...".join(dict.fromkeys(day for day in _days(run.dagster_run) if day)),
            since=run.create_timestamp,
            how_much=f"{run.dagster_run.status.value}, no end after {after}",
            section=RUN_STUCK,
            command=f"open the run {run.dagster_run.run_id} in the UI and choose Terminate",
        )
        for run in instance.get_run_records(made, limit=HANGING_AT_MOST, ascending=True)
    ]


def failing_sensors(instance: dg.DagsterInstance, but: str) -> list[Problem]:
    """The running sensors whose last three ticks failed, and schedules whose last one did; without the one that asks."""
    over = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
    found: list[Problem] = []
    for state in instance.all_instigator_state():
        if not state.is_running or state.name == but:
            continue
        needed = FAILURES_IN_A_ROW if state.instigator_type == InstigatorType.SENSOR else 1
        last = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=needed, statuses=over)
        if len(last) == needed and all(tick.status == TickStatus.FAILURE for tick in last):
            found.append(_failing(state, min(tick.timestamp for tick in last), needed))
    return found


def _failing(state: InstigatorState, since: float, ticks: int) -> Problem:
    what, again = ("sensor", "preview") if state.instigator_type == InstigatorType.SENSOR else ("schedule", "logs")
    return Problem(
        kind=SENSOR_FAILING,
        subject=f"{what} {state.name}",
        since=_moment(since),
        how_much=f"{ticks} failed ticks in a row" if ticks > 1 else "the last tick failed",
        section=SENSOR_FAILING,
        command=f"dagster {what} {again} {state.name} {MODULE}",
    )


def late_partitions(
    context: dg.SensorEvaluationContext, platform: Platform, lake: Lake, now: dt.datetime, after: dt.timedelta
) -> list[Problem] | None:
    """The tables that lack the last day that should be built, and since which day; None while an earlier red day holds them back.

    The day is the last one that is over, some hours ago by the system's clock, or by the watermark where the source has a
    clock of its own. What lacks it has its place on the first day of those it lacks in a row, so that it is the same problem
    when the next day comes to lack too. Snapshots are left out: a missing one is no gap.
    """
    reached = watermark(lake) if platform.manifest.clock == "head" else now - after
    if reached is None:
        return []
    ended_day = reached.date() - dt.timedelta(days=1)
    day = ended_day if platform.last is None else min(ended_day, platform.last)
    graph = context.repository_def.asset_graph if context.repository_def is not None else None
    if graph is None or day < platform.first:
        return []
    rooms = ("landing/changes/", "history/", "features/")
    keys = [key for key in graph.materializable_asset_keys if key.to_user_string().startswith(rooms)]
    keys = [key for key in keys if graph.get(key).partitions_def is not None]
    behind = [key for key in keys if not _is_built(context.instance, key, day)]
    lacking = sorted(key.to_user_string() for key in behind)
    if not lacking:
        return []
    red = first_red_day(lake, [key.to_user_string() for key in graph.materializable_asset_keys])
    if red is not None and red <= day:
        return None
    chosen = " or ".join(f"key:{name}" for name in lacking)
    first = min(_first_lacking(context.instance, key, platform.first, day) for key in behind)
    days = f"--partition {day}" if first == day else f"--partition-range {first}...{day}"
    return [
        Problem(
            kind=PARTITION_LATE,
            subject="tables behind",
            place=first.isoformat(),
            since=dt.datetime.combine(first + dt.timedelta(days=1), dt.time(), dt.UTC),
            how_much=f"{len(lacking)} tables: {listed(lacking, 5)}",
            section=PARTITION_LATE,
            command=f"dagster asset materialize {MODULE} --select '{chosen}' {days}",
        )
    ]


def _first_lacking(instance: dg.DagsterInstance, key: dg.AssetKey, first: dt.date, last: dt.date) -> dt.date:
    """Where the row of days begins, up to the last, that a table lacks."""
    built = instance.get_materialized_partitions(key)
    day = last
    while day > first and (day - dt.timedelta(days=1)).isoformat() not in built:
        day -= dt.timedelta(days=1)
    return day


def _is_built(instance: dg.DagsterInstance, key: dg.AssetKey, day: dt.date) -> bool:
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[day.isoformat()])
    return bool(instance.fetch_materializations(wanted, limit=1).records)


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
