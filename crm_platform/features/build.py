"""Building stored timelines from history: reads a window of days, asks the kernel, and commits it once.

Here is the I/O around the pure functions: what is read for a window, what is refused, what is written. What a step is
stands in `timelines` and `keyframes`; which view there is in `catalogue`; which days a run should build is the asset's
question.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from crm_platform.contracts import Contract, PermanentError
from crm_platform.features.catalogue import BoundView
from crm_platform.features.inputs import Inputs, closing_rows
from crm_platform.features.keyframes import with_keyframes
from crm_platform.history.carried import midnight
from crm_platform.history.claims import EVER, Claim, claim_anew, claim_of, first_change, next_claim
from crm_platform.history.windows import JUST_AFTER, ONE_DAY, before_red, stretch, upstream_of
from crm_platform.lake import Commit, Lake, first_lost
from crm_platform.sources import Manifest

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
    inputs = Inputs.pinned(lake, contracts, view)
    window = stretch(table, days)
    clear = before_red(lake, window, [*upstream_of(manifest.objects), "history/merges"])
    blocked = next((day for day in window if day not in set(clear)), None)
    open_days = [day for day in clear if midnight(day) <= watermark]
    if not open_days:
        return BuildReport(table, (), {}, lake.version(table), None, blocked, inputs.versions)
    written = [*inputs.days_before(open_days[0]), *open_days] if open_days[0] == first_day else open_days
    since, until = midnight(written[0]), min(midnight(open_days[-1] + ONE_DAY), watermark + JUST_AFTER)
    is_first = not inputs.days_before(written[0])
    so_far = _claimed(lake, inputs)
    claimed = None if is_first else so_far
    holds = EVER if claimed is None else claimed[1]
    _refuse_unbuilt(lake, inputs, written[0], holds)
    closing = closing_rows(lake, table, since) if holds >= since else None
    tell(
        f"{table}: computing {len(open_days)} days from {open_days[0]} to {open_days[-1]}, "
        f"{'from the whole past' if closing is None else f'from {closing.height} closing rows'}"
    )
    steps = inputs.steps(since, until, closing)
    framed = with_keyframes(steps, since, until, carried=_carried(lake, table, since, until, closing))
    stored = framed.with_columns(KNOWN_DATE).collect(engine="streaming")
    told = {"built_from": json.dumps(inputs.versions), "watermark": watermark.isoformat(), "source": manifest.name}
    now = Claim(inputs.versions, until, inputs.rules)
    claim = next_claim(now, claimed, since, from_the_first=is_first)
    commit = lake.replace(table, stored, days=written, metadata=told | (claim.said() if claim else {}))
    if commit is None and claim is not None:
        claim_anew(lake, table, claim, is_doubted=so_far is not None and so_far[1] < so_far[0].until)
    inputs.prepare(open_days[-1])
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
    """The earliest day whose stored steps may not be what history comes to now; None if all are.

    The timeline's own claim is held against the logs of its inputs, and only days that changed are read. Without a
    claim, or with one by other rules, all of it is stale. From this day on the timeline, and what was trained on it, has
    to be built again.

    Args:
        lake: Where to look.
        contracts: The CRM's contracts, by object.
        view: Whose timeline.
        watermark: Up to where it was to be built.
    """
    inputs = Inputs.pinned(lake, contracts, view)
    claimed = _claimed(lake, inputs)
    first = inputs.first_day()
    begins = [day for day in lake.days(table_of(view)) if isinstance(day, date)]
    begins += [first] if first is not None and midnight(first) <= watermark else []
    if claimed is None or not begins:
        return min(begins, default=None)
    holds = max(claimed[1], midnight(min(begins)))
    return holds.date() if holds <= watermark else None


def table_of(view: BoundView) -> str:
    """The table of a view's timeline."""
    return f"features/{view.name}"


def _carried(
    lake: Lake, table: str, since: datetime, until: datetime, closing: pl.DataFrame | None
) -> pl.DataFrame | None:
    """The state of every entity just before the window, where a keyframe of the window will repeat it."""
    last = (until - JUST_AFTER).date()
    has_keyframe = since == midnight(since.date().replace(day=1)) or (since.year, since.month) != (
        last.year,
        last.month,
    )
    if not has_keyframe:
        return None
    return closing_rows(lake, table, since) if closing is None else closing


def _claimed(lake: Lake, inputs: Inputs) -> tuple[Claim, datetime] | None:
    """What the stored timeline claims, and up to which moment that still holds of the inputs as they are now.

    None where nothing is claimed, or by other rules.
    """
    table = table_of(inputs.view)
    found = claim_of(lake, table)
    if found is None or found[0].rules != inputs.rules:
        return None
    claim, said = found
    stored, now = lake.schema(table), lake.version(table)
    lost = first_lost(lake, table)
    changes = [inputs.first_change(claim), None if lost is None else midnight(lost)]
    if stored is not None:
        changes.append(
            first_change(lake, table, (said, now), until=claim.until, schema=stored, known=pl.col("known_at"))
        )
    return claim, min((moment for moment in changes if moment is not None), default=claim.until)


def _refuse_unbuilt(lake: Lake, inputs: Inputs, first: date, holds: datetime) -> None:
    table = table_of(inputs.view)
    built = set(lake.days(table))
    suspects = [day for day in inputs.days_before(first) if day not in built and midnight(day + ONE_DAY) > holds]
    if not suspects:
        return
    since = midnight(suspects[0])
    closing = closing_rows(lake, table, since) if holds >= since else None
    steps = inputs.steps(since, midnight(first), closing)
    lacking = steps.group_by(pl.col("known_at").dt.date().alias("day")).len().sort("day").collect(engine="streaming")
    missing = lacking.filter(pl.col("day").is_in(built).not_())
    if missing.height:
        raise UnbuiltFeaturesError.before(table, missing["day"][0], first, missing["len"][0])


def _silent(_: str) -> None:
    """Tells nobody."""
