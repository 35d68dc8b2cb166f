"""Deriving a window of the past again: what that comes to is said first, then it is done month by month.

Landing is only read. A month that comes out equal writes nothing, so that whatever was cut off is simply asked for again;
months that the same rebuild has finished before it was cut off are not done twice. The command and the job of the UI ask
the same functions.
"""

import datetime as dt
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
import polars as pl
from pydantic import Field
from rich.console import Console

from crm_platform.contracts import PermanentError
from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import REBUILD
from crm_platform.defs.platform import Platform
from crm_platform.defs.running import Make, StepLines, run_range
from crm_platform.features.build import stale_from as features_stale_from
from crm_platform.features.catalogue import views_for
from crm_platform.features.shelf import folder_of, manifests_in
from crm_platform.history.build import merges_stale_from
from crm_platform.history.claims import code_of
from crm_platform.history.staleness import stale_from as history_stale_from
from crm_platform.history.windows import before_red
from crm_platform.lake import Lake, LostFile, lost_files
from crm_platform.landing import covered_days, refuse_lost, watermark

PIECE, WHOLE = "crm/rebuild_piece", "crm/rebuild"
"""Tags of the runs of a rebuild: which months each did, and of which rebuild."""


class RebuildError(PermanentError):
    """A window cannot be rebuilt as asked."""

    @classmethod
    def nothing_landed(cls, root: str) -> "RebuildError":
        """Says that there is nothing to derive from."""
        return cls(f"Nothing has landed in {root} yet. Materialize landing/changes/* first, or run `make demo`.")

    @classmethod
    def empty(cls, first: dt.date, last: dt.date, covered: Sequence[dt.date]) -> "RebuildError":
        """Says that no covered day lies between two days."""
        return cls(
            f"No day from {first} to {last} is covered by what has landed ({covered[0]} to {covered[-1]}). Name days between."
        )

    @classmethod
    def unknown(cls, names: Sequence[str], known: Sequence[str]) -> "RebuildError":
        """Names objects that the CRM does not have."""
        return cls(f"There is no object {', '.join(names)}; there are: {', '.join(known)}.")


@dataclass(frozen=True)
class Plan:
    """What a rebuild would do.

    Attributes:
        days: The days that are derived again, in order; they end before the first red one.
        objects: Whose histories.
        tables: One row per table: table, days, rows (as stored in these days now).
        training: The stored training sets that read these days, as `name/id`.
        blocked: The red day before which the rebuild stops; None where nothing is red.
        lost: What of these tables cannot be read, of any day: it is derived again whatever the days.
    """

    days: tuple[dt.date, ...]
    objects: tuple[str, ...]
    tables: pl.DataFrame
    training: tuple[str, ...]
    blocked: dt.date | None
    lost: tuple[LostFile, ...] = ()

    @property
    def pieces(self) -> list[tuple[dt.date, dt.date]]:
        """The window in calendar months: so much is held in memory at once."""
        months: dict[tuple[int, int], list[dt.date]] = {}
        for day in self.days:
            months.setdefault((day.year, day.month), []).append(day)
        return [(found[0], found[-1]) for found in months.values()]

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        if not self.days:
            yield f"Nothing is rebuilt: {self.blocked} is red. `crm-platform summary` says by which check."
            return
        rows = int(self.tables["rows"].sum())
        yield (
            f"{len(self.days)} days, {self.days[0]} to {self.days[-1]}, in {len(self.pieces)} pieces; "
            f"{self.tables.height} tables, {rows:,} rows of these days are derived again. Equal days keep their files."
        )
        for table, days, held in self.tables.iter_rows():
            yield f"  {table}: {days} days, {held:,} rows"
        for file in self.lost:
            yield f"  cannot be read: {file}"
        if self.blocked is not None:
            yield f"It stops before {self.blocked}, which is red."
        if self.training:
            yield f"Training sets that read these days, superseded where their inputs change: {', '.join(self.training)}"


def plan_of(platform: Platform, first: dt.date, last: dt.date | None, objects: Sequence[str] = ()) -> Plan:
    """What deriving some days again comes to; reads table logs and manifests, writes nothing.

    Args:
        platform: The CRM and its lake.
        first: The first day.
        last: The last one; None for the last that has landed.
        objects: Whose histories, and what is made of them; none for all.

    Raises:
        RebuildError: Nothing has landed, no covered day is named, or an object is unknown.
        LandingLostError: What these days are derived from cannot be read.
    """
    manifest, lake = platform.manifest, platform.lake()
    unknown = [name for name in objects if name not in manifest.objects]
    if unknown:
        raise RebuildError.unknown(unknown, list(manifest.objects))
    reached = watermark(lake)
    if reached is None:
        raise RebuildError.nothing_landed(platform.lake_root)
    covered = covered_days(platform.days_until(reached), reached)
    asked = [day for day in covered if first <= day and (last is None or day <= last)]
    if not asked:
        raise RebuildError.empty(first, last or covered[-1], covered)
    chosen = tuple(objects) or tuple(manifest.objects)
    views = views_for(manifest, platform.contracts).values()  # all of them depend on the merges of every object
    histories = [*(f"history/{name}" for name in chosen), "history/merges"]
    landed = [f"landing/{room}/{name}" for name in chosen for room in ("changes", "snapshot")]
    days = before_red(lake, asked, landed)
    refuse_lost(lake, landed, days)
    refuse_lost(lake, [f"quarantine/{name}" for name in chosen])
    tables = [*histories, *(f"features/{bound.name}" for bound in views)]
    rows = [_held(lake, table, days) for table in tables]
    held = [*tables, *(f"current/{name}" for name in chosen)]
    return Plan(
        days=tuple(days),
        objects=chosen,
        tables=pl.DataFrame(rows, schema={"table": pl.String, "days": pl.Int64, "rows": pl.Int64}, orient="row"),
        training=tuple(_training_from(lake, list(manifest.training), asked[0])),
        blocked=None if len(days) == len(asked) else asked[len(days)],
        lost=tuple(file for table in held for file in lost_files(lake, table)),
    )


Piece = Callable[[dt.date, dt.date, dict[str, str]], bool]
"""Runs the assets of a plan over a stretch of days, with some tags; whether it went well."""


def rebuilt(plan: Plan, instance: dg.DagsterInstance, run: Piece, tell: Callable[[str], None]) -> bool:
    """Does a plan piece by piece, leaving out what the same rebuild has done before it was cut off; whether all went well."""
    names = {f"{first}..{last}": (first, last) for first, last in plan.pieces}
    whole, done = _begun(plan, instance, len(names))
    for number, (name, (first, last)) in enumerate(names.items(), 1):
        if name in done:
            tell(f"piece {number} of {len(names)}, {first} to {last}: done before the rebuild was cut off")
            continue
        tell(f"piece {number} of {len(names)}: {first} to {last}")
        if not run(first, last, {WHOLE: whole, PIECE: name}):
            return False
    return True


def _begun(plan: Plan, instance: dg.DagsterInstance, pieces: int) -> tuple[str, set[str]]:
    """What stands for this rebuild, and its pieces that ended well; one that ended as a whole is begun anew."""
    again = 0
    while True:
        told = [code_of(("history", "features")), *plan.objects, str(plan.days[0]), str(plan.days[-1]), str(again)]
        whole = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
        wanted = dg.RunsFilter(tags={WHOLE: whole}, statuses=[dg.DagsterRunStatus.SUCCESS])
        done = {run.tags[PIECE] for run in instance.get_runs(wanted)}
        if len(done) < pieces:
            return whole, done
        again += 1


def _held(lake: Lake, table: str, days: Sequence[dt.date]) -> tuple[str, int, int]:
    rows = lake.rows_by_day(table) if lake.exists(table) else {}
    return table, len(days), sum(rows.get(day, 0) for day in days)


def _training_from(lake: Lake, names: Sequence[str], first: dt.date) -> Iterator[str]:
    """The stored training sets that read anything from a day on."""
    for name in names:
        for identity, told in manifests_in(folder_of(lake, name)).items():
            if told.watermark.date() >= first:
                yield f"{name}/{identity}"


def stale_day(platform: Platform) -> dt.date | None:
    """The earliest day of any history, merge fact or timeline that is not what has landed by now comes to; None for none."""
    lake, manifest, contracts = platform.lake(), platform.manifest, platform.contracts
    reached = watermark(lake)
    if reached is None:
        return None
    found = [history_stale_from(lake, manifest, contracts, name, watermark=reached) for name in manifest.objects]
    found.append(merges_stale_from(lake, manifest))
    views = views_for(manifest, contracts).values()
    found += [features_stale_from(lake, contracts, bound, watermark=reached) for bound in views]
    return min((day for day in found if day is not None), default=None)


@dg.schedule(
    job_name=REBUILD,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    description="Rebuilds what came late: the last days (late_days of crm_platform.yaml), if any of them is stale.",
)
def late_data(platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Requests the stale days among the last ones, once a night; a body goes further back where state carries over."""
    stale, reached = stale_day(platform), watermark(platform.lake())
    covered = covered_days(platform.days_until(reached), reached)
    if reached is None or stale is None or stale >= covered[-1]:  # the last day is open, and every tick builds it
        return dg.SkipReason("Every day is what has landed comes to: nothing came late.")
    begin = max(stale, covered[-1] - dt.timedelta(days=platform.late_days - 1))
    return dg.RunRequest(run_key=f"late-{stale}-{reached.isoformat()}", tags=range_tags(begin, covered[-1]))


class Window(dg.Config):
    """What the job rebuild_window is asked for."""

    first: str = Field(description="The first day to derive again, YYYY-MM-DD.")
    last: str | None = Field(None, description="The last one; none for the last that has landed.")
    objects: list[str] = Field(
        default_factory=list, description="Whose histories, and what is made of them; none for all."
    )
    dry_run: bool = Field(default=True, description="Whether to say what would be done, and do nothing.")


def rebuild_window_job(make: Make) -> dg.JobDefinition:
    """The job that does in the UI what `crm-platform rebuild` does: the plan first, then month after month."""

    @dg.op(description="Says what deriving some days again comes to, and does it unless it is a dry run.")
    def rebuild_window(context: dg.OpExecutionContext, config: Window, platform: Platform) -> None:
        last = None if config.last is None else dt.date.fromisoformat(config.last)
        plan = plan_of(platform, dt.date.fromisoformat(config.first), last, config.objects)
        for line in plan.lines():
            context.log.info(line)
        context.add_output_metadata(
            {"plan": dg.MetadataValue.md("\n".join(f"- {line.strip()}" for line in plan.lines()))}
        )
        if config.dry_run or not plan.days:
            return
        lines = StepLines(Console(file=io.StringIO()), told=context.log.info)

        def run(begin: dt.date, end: dt.date, tags: dict[str, str]) -> bool:
            ok, _ = run_range(make, begin, end, lines, job=REBUILD, tags=tags, objects=config.objects)
            return ok

        if not rebuilt(plan, context.instance, run, context.log.info):
            raise dg.Failure(
                "A piece of the rebuild did not go well: its run says why. Ask again once it is mended; done pieces stay done."
            )

    @dg.job(description="Derives a window of the past again: a dry run says what that comes to.")
    def rebuild_window_asked() -> None:
        rebuild_window()

    return rebuild_window_asked
