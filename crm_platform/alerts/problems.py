"""What can be wrong with the platform, and what is open of it, given what runs and checks said.

Pure: what happened comes in, what is open goes out. Who asks Dagster, and who tells people, stands elsewhere.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from pydantic import BaseModel, ConfigDict

CHECK_FAILED = "check_failed"
RUN_FAILED = "run_failed"
BACKFILL_FAILED = "backfill_failed"
RUN_STUCK = "run_stuck"
PARTITION_LATE = "partition_late"
SENSOR_FAILING = "sensor_failing"
KINDS = (CHECK_FAILED, SENSOR_FAILING, RUN_STUCK, RUN_FAILED, BACKFILL_FAILED, PARTITION_LATE)
"""Every kind of alert, causes before what they lead to, as messages name them; each has a section of its name in the runbook."""

LAPSING = (RUN_FAILED, BACKFILL_FAILED)
LAPSES = timedelta(days=7)
"""How long a failed run or backfill stays open if nothing covers it."""

Key = tuple[str, str, str]
"""Kind, subject and place of a problem: what makes it the same one."""


class Frozen(BaseModel):
    """A value that is kept as JSON and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stretch(Frozen):
    """Days of an asset, in a row, that were to be written and were not; no days: the asset as a whole. Lacking since then."""

    asset: str
    first: str = ""
    last: str = ""
    since: datetime

    @property
    def partitions(self) -> list[str]:
        """The keys of its days; none for an asset without."""
        if not self.first:
            return []
        first, last = date.fromisoformat(self.first), date.fromisoformat(self.last)
        return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


class Problem(Frozen):
    """One thing that is wrong: what kind, of what (an asset's check, a job, a sensor), where (a day, a range, nothing).

    `how_much` and `command` hold counts and names, never a row; `section` is the runbook's. `job, assets, first, last` say
    what a failed run was to do, so that one that did it is known; `lacking` what it, or a backfill, was to write and did not.
    """

    kind: str
    subject: str
    place: str = ""
    since: datetime
    how_much: str = ""
    section: str
    command: str = ""
    job: str = ""
    assets: tuple[str, ...] = ()
    first: str = ""
    last: str = ""
    lacking: tuple[Stretch, ...] = ()

    @property
    def key(self) -> Key:
        """What makes it the same problem."""
        return self.kind, self.subject, self.place


class Evaluated(Frozen):
    """What a check said of a partition, or of all it looked at (partition None), within one run."""

    run_id: str
    asset: str
    check: str
    partition: str | None
    passed: bool
    at: datetime
    failing: int | None = None
    total: int | None = None


class Ended(Frozen):
    """How a run ended: what it was to do (no assets: all of its job; no days: unpartitioned), and where it broke.

    `lacking` is what a failed run did not write.
    One that `checks_ended` broke in nothing but checks that did not pass: they tell of it themselves.
    """

    run_id: str
    passed: bool
    at: datetime
    job: str
    assets: tuple[str, ...] = ()
    first: str = ""
    last: str = ""
    backfill: str | None = None
    steps: tuple[str, ...] = ()
    lacking: tuple[Stretch, ...] = ()
    command: str = ""
    checks_ended: bool = False


def stretches(asset: str, days: Collection[str], since: datetime) -> tuple[Stretch, ...]:
    """An asset's days, cut into rows of neighbours; none of them: the asset as a whole."""
    if not days:
        return (Stretch(asset=asset, since=since),)
    rows: list[list[date]] = []
    for day in sorted(date.fromisoformat(key) for key in days):
        if rows and day - rows[-1][-1] == timedelta(days=1):
            rows[-1].append(day)
        else:
            rows.append([day])
    return tuple(Stretch(asset=asset, first=row[0].isoformat(), last=row[-1].isoformat(), since=since) for row in rows)


def after_checks(held: Mapping[Key, Problem], said: Sequence[Evaluated]) -> dict[Key, Problem]:
    """What is open once checks have spoken: a failure opens its partition, a later pass of the same partition closes it.

    The summary of a run that also spoke of partitions says nothing of its own.
    """
    by_day = {(one.run_id, one.asset, one.check) for one in said if one.partition is not None}
    found = dict(held)
    for one in sorted(said, key=lambda one: one.at):
        if one.partition is None and (one.run_id, one.asset, one.check) in by_day:
            continue
        problem = _of_check(one)
        before = found.get(problem.key)
        if not one.passed:
            found[problem.key] = problem if before is None else problem.model_copy(update={"since": before.since})
        elif before is not None and before.since <= one.at:
            del found[problem.key]
    return found


def _of_check(one: Evaluated) -> Problem:
    day = one.partition or ""
    where = f" --from {day} --to {day}" if day else ""
    counted = one.failing is not None and one.total
    return Problem(
        kind=CHECK_FAILED,
        subject=f"{one.asset} {one.check}",
        place=day,
        since=one.at,
        how_much=f"{one.failing:,} of {one.total:,} rows" if counted else "",
        section=one.check,
        command=f"crm-platform check {one.asset} {one.check}{where}",
    )


def after_runs(held: Mapping[Key, Problem], ended: Sequence[Ended]) -> dict[Key, Problem]:
    """What is open once runs have ended: a failure opens, a later success over the same assets and days closes.

    The failed runs of one backfill are one subject. Where one did not write what it was to, a success proves nothing, for
    runs succeed that stop before a red day: it is closed once everything is written (`as_observed`).
    A run outside a backfill that only its checks ended opens and closes nothing.
    """
    found = dict(held)
    told = [run for run in ended if run.backfill is not None or not run.checks_ended]
    for run in sorted(told, key=lambda run: run.at):
        if run.passed:
            found = {key: problem for key, problem in found.items() if not _covers(run, problem)}
            continue
        problem = of_run(run)
        before = found.get(problem.key)
        found[problem.key] = problem if before is None else problem.model_copy(update={"since": before.since})
    return found


def of_run(run: Ended) -> Problem:
    """The problem that a failed run is."""
    kind = RUN_FAILED if run.backfill is None else BACKFILL_FAILED
    chosen = f" of {listed(run.assets, 3)}" if run.assets else ""
    return Problem(
        kind=kind,
        subject=f"backfill {run.backfill}" if run.backfill is not None else f"{run.job}{chosen}",
        place=run.first if run.first == run.last else f"{run.first}...{run.last}",
        since=run.at,
        how_much=f"failed in {listed(run.steps, 3)}" if run.steps else "",
        section=kind,
        command=run.command,
        job=run.job,
        assets=run.assets,
        first=run.first,
        last=run.last,
        lacking=run.lacking,
    )


def _covers(run: Ended, problem: Problem) -> bool:
    if problem.kind not in LAPSING or problem.lacking or run.at < problem.since:
        return False
    whole_job = run.job == problem.job and not run.assets
    same_assets = bool(problem.assets) and set(problem.assets) <= set(run.assets)
    same_job = run.job == problem.job and run.assets == problem.assets
    days = problem.first == "" or (run.first != "" and run.first <= problem.first and problem.last <= run.last)
    return (whole_job or same_assets or same_job) and days


def as_observed(
    held: Mapping[Key, Problem], observed: Mapping[str, Iterable[Problem] | None], now: datetime
) -> dict[Key, Problem]:
    """What is open once states were looked at: per kind exactly what is seen now; a kind that is None could not be judged.

    What was open before keeps its `since`. Failed runs and backfills that nothing covered lapse after a week.
    """
    found = {key: problem for key, problem in held.items() if observed.get(problem.kind) is None}
    for problems in observed.values():
        for problem in problems or ():
            before = held.get(problem.key)
            found[problem.key] = problem if before is None else before
    return {key: one for key, one in found.items() if not (one.kind in LAPSING and one.since < now - LAPSES)}


def listed(names: Sequence[str], most: int) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
