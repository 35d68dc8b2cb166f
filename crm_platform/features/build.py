"""Building stored timelines from history: reads a window of days, asks the kernel, and commits it once.

Here is the I/O around the pure functions: what is read for a window, what is refused, what is written. What a step is
stands in `timelines` and `keyframes`; which view there is in `catalogue`; which days a run should build is the asset's
question.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from crm_platform.contracts import MERGES, Contract, PermanentError
from crm_platform.features.catalogue import BoundView
from crm_platform.features.keyframes import with_keyframes
from crm_platform.features.timelines import build_timeline
from crm_platform.history.build import before_red, stretch, upstream_of
from crm_platform.lake import Commit, Lake
from crm_platform.sources import Manifest

ONE_DAY = timedelta(days=1)
JUST_AFTER = timedelta(microseconds=1)
VERSION = ("entity_id", "event_time", "processed_time", "source_position", "is_tombstone", "changed_fields")
"""What the kernel needs of a version beside the fields it carries."""

KNOWN_DATE = pl.col("known_at").dt.date().alias("known_date")

Progress = Callable[[str], None]


class UnbuiltFeaturesError(PermanentError):
    """A day before the window has steps that the stored timeline lacks."""

    def __init__(self, message: str, *, table: str, day: date) -> None:
        super().__init__(message)
        self.table = table
        self.day = day

    @classmethod
    def before(cls, table: str, day: date, first: date, steps: int) -> "UnbuiltFeaturesError":
        """Names the earliest such day, and how many steps are missing."""
        return cls(
            f"{table} was to be built from {first}, but {steps} steps of {day} are not in it. "
            f"Nothing was written; build from {day} on.",
            table=table,
            day=day,
        )


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        table: The table.
        days: The days that stand now as this build computed them, in order; those beyond the watermark are not.
        rows: How many steps each of them holds.
        version: The table's version afterwards; None if it does not exist.
        commit: What was committed; None where everything was there already.
        blocked: The first day that was asked for and not built, because an input is red.
        built_from: The Delta version of every input.
    """

    table: str
    days: tuple[date, ...]
    rows: Mapping[date, int]
    version: int | None
    commit: Commit | None
    blocked: date | None
    built_from: Mapping[str, int | None]


def build_features(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    view: BoundView,
    days: Sequence[date],
    *,
    watermark: datetime,
    first_day: date | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Builds the stored timeline of a view for a stretch of days, in one commit.

    It stops before the first day on which something it comes from is red, and ends just after the watermark. The commit
    says which version of every input it was built from.

    Args:
        lake: Where to read and write.
        manifest: What the CRM declares.
        contracts: Its contracts, by object.
        view: What to build.
        days: A stretch of days without gap.
        watermark: Everything known up to here is in history.
        first_day: The first day there is; what was known before it is built with it.
        progress: Is told what is being done.

    Raises:
        WindowError: The days are none, or not one stretch.
        UnbuiltFeaturesError: An earlier day has steps that the stored timeline lacks.
    """
    table = table_of(view)
    tell = progress or _silent
    inputs = _Inputs.pinned(lake, contracts, view)
    window = stretch(table, days)
    clear = before_red(lake, window, [*upstream_of(manifest.objects), "history/merges"])
    blocked = next((day for day in window if day not in set(clear)), None)
    open_days = [day for day in clear if midnight(day) <= watermark]
    if not open_days:
        return BuildReport(table, (), {}, lake.version(table), None, blocked, inputs.versions)
    written = [*inputs.days_before(open_days[0]), *open_days] if open_days[0] == first_day else open_days
    since, until = midnight(written[0]), min(midnight(open_days[-1] + ONE_DAY), watermark + JUST_AFTER)
    _refuse_unbuilt(lake, inputs, written[0])
    tell(f"{table}: computing {len(open_days)} days from {open_days[0]} to {open_days[-1]}")
    steps = inputs.steps(since, until)
    framed = with_keyframes(steps, since, until, carried=_carried(lake, table, since, until))
    stored = framed.with_columns(KNOWN_DATE).collect(engine="streaming")
    told = {"built_from": json.dumps(inputs.versions), "watermark": watermark.isoformat(), "source": manifest.name}
    commit = lake.replace(table, stored, days=written, metadata=told)
    tell(f"{table}: {stored.height} steps, {'committed' if commit else 'unchanged'}")
    counted = dict(stored.group_by("known_date").len().iter_rows())
    return BuildReport(
        table=table,
        days=tuple(open_days),
        rows={day: counted.get(day, 0) for day in open_days},
        version=lake.version(table),
        commit=commit,
        blocked=blocked,
        built_from=inputs.versions,
    )


def stale_from(lake: Lake, contracts: Mapping[str, Contract], view: BoundView, *, watermark: datetime) -> date | None:
    """The earliest day whose stored steps are not what history comes to now; None if all are.

    Everything is computed anew for it, so the price is that of a build. From this day on the timeline, and what was
    trained on it, has to be built again.

    Args:
        lake: Where to look.
        contracts: The CRM's contracts, by object.
        view: Whose timeline.
        watermark: Up to where it was to be built.
    """
    table = table_of(view)
    inputs = _Inputs.pinned(lake, contracts, view)
    stored = _contents(lake.scan(table)) if lake.exists(table) else None
    first = inputs.first_day()
    if first is None or midnight(first) > watermark:
        return None if stored is None else stored.select(pl.col("known_date").min()).item()
    since, until = midnight(first), watermark + JUST_AFTER
    now = _contents(with_keyframes(inputs.steps(since, until), since, until).with_columns(KNOWN_DATE))
    differing = now if stored is None else pl.concat([now, stored]).unique(keep="none")
    return differing.select(pl.col("known_date").min()).item()


def table_of(view: BoundView) -> str:
    """The table of a view's timeline."""
    return f"features/{view.name}"


def midnight(day: date) -> datetime:
    """The moment at which a UTC day begins."""
    return datetime.combine(day, time(), UTC)


@dataclass(frozen=True)
class _Inputs:
    """The history a view reads, each table at one version."""

    lake: Lake
    contracts: Mapping[str, Contract]
    view: BoundView
    versions: Mapping[str, int | None]

    @classmethod
    def pinned(cls, lake: Lake, contracts: Mapping[str, Contract], view: BoundView) -> "_Inputs":
        objects = [view.entity, *([view.activity] if view.activity else [])]
        tables = [*(f"history/{name}" for name in objects), "history/merges"]
        return cls(lake, contracts, view, {table: lake.version(table) for table in tables})

    def steps(self, since: datetime, until: datetime) -> pl.LazyFrame:
        """The view's steps of a window."""
        activity = self.view.activity
        return build_timeline(
            self.view.view,
            None if activity is None else self._history(activity, until),
            self._merges(until),
            versions=self._history(self.view.entity, until),
            since=since,
            until=until,
        )

    def first_day(self) -> date | None:
        """The first day with a version of the entity or its activities, or a merge."""
        found = {day for table in self.versions for day in self.lake.days(table)}
        return min((day for day in found if isinstance(day, date)), default=None)

    def days_before(self, day: date) -> list[date]:
        """All days from the first to the one before the given one; none where history begins later."""
        start = self.first_day() or day
        return [start + n * ONE_DAY for n in range((day - start).days)]

    def _history(self, object_name: str, until: datetime) -> pl.LazyFrame:
        wanted = [column for reads in self.view.lineage.values() for name, column in reads if name == object_name]
        schema = self.contracts[object_name].history_schema
        columns = list(dict.fromkeys([*VERSION, *wanted]))
        rows = self._scan(f"history/{object_name}", schema)
        return rows.filter(pl.col("processed_date") <= until.date()).select(columns)

    def _merges(self, until: datetime) -> pl.LazyFrame:
        mine = (pl.col("object") == self.view.entity) & (pl.col("processed_date") <= until.date())
        facts = self._scan("history/merges", MERGES).filter(mine)
        return facts.select("loser_id", "winner_id", "event_time", "processed_time")

    def _scan(self, table: str, schema: pl.Schema) -> pl.LazyFrame:
        version = self.versions[table]
        return pl.LazyFrame(schema=schema) if version is None else self.lake.scan(table, schema=schema, version=version)


def _carried(lake: Lake, table: str, since: datetime, until: datetime) -> pl.LazyFrame | None:
    """The state of every entity just before the window, where a keyframe of the window will repeat it.

    The stored keyframe of the month before the window bounds how far back this reads.
    """
    last = (until - JUST_AFTER).date()
    has_keyframe = since == midnight(since.date().replace(day=1)) or (since.year, since.month) != (
        last.year,
        last.month,
    )
    if not has_keyframe or not lake.exists(table):
        return None
    first = (since - JUST_AFTER).date().replace(day=1)
    before = lake.scan(table).filter(pl.col("known_date").is_between(first, since.date(), closed="left"))
    return before.drop("known_date").sort("entity_id", "known_at").group_by("entity_id", maintain_order=True).last()


def _contents(steps: pl.LazyFrame) -> pl.DataFrame:
    """The content of every day, whatever the order of its rows: known_date, and what tells it from any other."""
    columns = sorted(steps.collect_schema().names())
    row = pl.struct(columns).hash()
    told = (pl.len().alias("rows"), row.sum().alias("content"), pl.lit(",".join(columns)).alias("columns"))
    return steps.group_by("known_date").agg(*told).collect(engine="streaming")


def _refuse_unbuilt(lake: Lake, inputs: _Inputs, first: date) -> None:
    table = table_of(inputs.view)
    built = set(lake.days(table))
    suspects = [day for day in inputs.days_before(first) if day not in built]
    if not suspects:
        return
    steps = inputs.steps(midnight(suspects[0]), midnight(first))
    lacking = steps.group_by(pl.col("known_at").dt.date().alias("day")).len().sort("day").collect(engine="streaming")
    missing = lacking.filter(pl.col("day").is_in(built).not_())
    if missing.height:
        raise UnbuiltFeaturesError.before(table, missing["day"][0], first, missing["len"][0])


def _silent(_: str) -> None:
    """Tells nobody."""
