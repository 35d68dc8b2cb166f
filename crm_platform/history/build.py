"""Building history tables from what landed: reads a window of days, derives it, and commits it once.

Here is the I/O around the pure functions: what is read for a window, what is refused, what is written. Which days a run
should build is the asset's question, which rows they hold is `derive`'s answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl

from crm_platform import landing
from crm_platform.contracts import MERGES, Contract
from crm_platform.history.carried import carried_merges, carried_versions, midnight
from crm_platform.history.claims import Claim, claim_anew, claim_of, code_of, next_claim
from crm_platform.history.current import current_from
from crm_platform.history.derive import Derived, Rules, derive, rules_of
from crm_platform.history.landed import dates, landed_changes, landed_snapshots, quarantine_rejected, unresolved
from crm_platform.history.merges import merges_from
from crm_platform.history.reconcile import Reconciled
from crm_platform.history.report import BuildReport, Progress, lateness
from crm_platform.history.staleness import by_rules, claimed, inputs_of, refuse_unbuilt
from crm_platform.history.state import state_as_of
from crm_platform.history.windows import (
    JUST_AFTER,
    ONE_DAY,
    before_red,
    stretch,
    stretches,
    upstream_of,
    with_what_came_before,
)
from crm_platform.lake import Commit, Lake, changed_days, first_lost
from crm_platform.sources import Manifest

ROWS_AT_ONCE = 1_000_000
"""How many landed changes are derived together: this bounds the memory of a build."""


def build_history(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    object_name: str,
    days: Sequence[date],
    *,
    first_day: date | None = None,
    watermark: datetime | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
    progress: Progress | None = None,
) -> BuildReport:
    """Builds the history of an object for a stretch of days, in one pass.

    There is one commit, or, where more rows have landed than fit into memory at once, one per stretch of the days.

    It stops before the first red day, before one whose snapshot lacks more than the manifest allows, and where the
    watermark ends. Changes that contradict each other go to quarantine.

    Args:
        lake: Where to read and write.
        manifest: What the CRM declares.
        contracts: Its contracts, by object.
        object_name: The object.
        days: A stretch of days without gap.
        first_day: The first day there is; what was recorded before it is built with it.
        watermark: Up to where the feed has landed, None for what landing says: a snapshot is compared once this has
            reached its end.
        rows_at_once: How many landed changes may be derived together.
        progress: Is told what is being done.

    Raises:
        WindowError: The days are none, or not one stretch.
        UnbuiltDayError: An earlier day has landed changes that history lacks altogether.
        SnapshotError: A landed snapshot cannot be read.
    """
    table = f"history/{object_name}"
    rules = rules_of(manifest, contracts[object_name])
    window = stretch(table, days)
    reached = watermark or landing.watermark(lake)
    covered = landing.covered_days(window, reached) if reached else []
    wanted = before_red(lake, covered, [f"landing/changes/{object_name}", f"landing/snapshot/{object_name}"])
    if reached is None or not wanted:
        return BuildReport(table, (), {}, lake.version(table), None, blocked=next(iter(covered), None))
    read = with_what_came_before(wanted, first_day, dates(lake.days(f"landing/changes/{object_name}")))
    refuse_unbuilt(lake, rules, read[0])
    tell = progress or _silent
    tell(f"{table}: deriving {len(wanted)} days from {wanted[0]} to {wanted[-1]}")
    claiming = _Claiming.of(lake, rules, read[0], reached)
    parts: list[_Part] = []
    for stretch_of_days in stretches(read, lake.rows_by_day(f"landing/changes/{object_name}"), rows_at_once):
        parts.append(_build_part(lake, rules, stretch_of_days, reached, claiming))
        tell(f"{table}: {parts[-1].told}")
        if parts[-1].blocked is not None:
            break
    built = [day for part in parts for day in part.rows]
    return BuildReport(
        table=table,
        days=tuple(day for day in built if day in wanted),
        rows={day: rows for part in parts for day, rows in part.rows.items()},
        version=lake.version(table),
        commit=_one_commit([part.commit for part in parts if part.commit is not None]),
        blocked=parts[-1].blocked or next((day for day in covered if day not in wanted), None),
        rejected=sum(part.rejected for part in parts),
        lateness=pl.concat([part.lateness for part in parts]),
        reconciled=tuple(found for part in parts for found in part.reconciled),
    )


def build_merges(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    days: Sequence[date],
    *,
    first_day: date | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Derives `history/merges` from the histories of all objects, for a stretch of days.

    Args:
        lake: Where to read and write.
        manifest: What the CRM declares.
        contracts: Its contracts, by object.
        days: A stretch of days without gap.
        first_day: The first day there is; what was recorded before it is derived with it.
        progress: Is told what is being done.

    Raises:
        WindowError: The days are none, or not one stretch.
    """
    table = "history/merges"
    window = stretch(table, days)
    histories = {name: f"history/{name}" for name in manifest.objects}
    wanted = before_red(lake, window, upstream_of(manifest.objects))
    held = sorted({day for history in histories.values() for day in dates(lake.days(history))})
    read = with_what_came_before(wanted, first_day, held)
    inputs = {history: lake.version(history) for history in histories.values()}
    facts = pl.concat(
        merges_from(lake.scan(history, days=read, schema=contracts[name].history_schema, version=inputs[history]), name)
        for name, history in histories.items()
    ).collect()
    claim, before = None, _claimed_merges(lake, inputs)
    if read:
        now = Claim(inputs, midnight(read[-1] + ONE_DAY), code_of(("history",)))
        is_first = not any(day < read[0] for day in held)
        claim = next_claim(now, before, midnight(read[0]), from_the_first=is_first)
    commit = lake.replace(table, facts, days=read, metadata=claim.said() if claim else None)
    if commit is None and claim is not None:
        is_doubted = before is not None and before[1] < midnight(read[-1])
        claim_anew(lake, table, claim, MERGES, is_doubted=is_doubted)
    (progress or _silent)(f"{table}: {facts.height} facts, {'committed' if commit else 'unchanged'}")
    blocked = next((day for day in window if day not in wanted), None)
    return BuildReport(table, tuple(wanted), _rows(facts, read), lake.version(table), commit, blocked=blocked)


def merges_stale_from(lake: Lake, manifest: Manifest) -> date | None:
    """The earliest day whose merge facts may not be what the histories come to; None if all are.

    Args:
        lake: Where to look.
        manifest: What the CRM declares.
    """
    histories = [f"history/{name}" for name in manifest.objects]
    found = _claimed_merges(lake, {history: lake.version(history) for history in histories})
    held = [day for history in histories for day in dates(lake.days(history))]
    if found is None:
        return min(held, default=None)
    later = [day for day in held if midnight(day) >= found[1]]
    return min([*later, *([found[1].date()] if found[1] < found[0].until else [])], default=None)


def build_current(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    object_name: str,
    *,
    watermark: datetime | None = None,
) -> BuildReport:
    """Makes `current/<object>` hold the living entities as known at the watermark.

    Args:
        lake: Where to read and write.
        manifest: What the CRM declares.
        contracts: Its contracts, by object.
        object_name: The object.
        watermark: The moment; None for what landing says.

    Raises:
        UnknownObjectError: The manifest has no such object.
    """
    contract = rules_of(manifest, contracts[object_name]).contract
    table = f"current/{object_name}"
    reached = watermark or landing.watermark(lake)
    if reached is None:
        return BuildReport(table, (), {}, lake.version(table), None)
    versions = carried_versions(lake, contract, lake.version(f"history/{object_name}")).since(reached, date.max)
    facts = carried_merges(lake, lake.version("history/merges")).since(reached, date.max)
    merges = facts.filter(pl.col("object") == object_name)
    living = current_from(state_as_of(versions, reached, merges), contract)
    commit = lake.overwrite(table, living)
    rows = {reached.date(): living.height}
    return BuildReport(table, (), rows, lake.version(table), commit, facts={"as_known_at": reached})


@dataclass(frozen=True)
class _Part:
    """What became of some days of a window."""

    rows: Mapping[date, int]
    commit: Commit | None
    blocked: date | None
    rejected: int
    lateness: pl.DataFrame
    reconciled: tuple[Reconciled, ...]

    @property
    def told(self) -> str:
        first = next(iter(self.rows), None)
        where = (
            "nothing" if first is None else f"{sum(self.rows.values())} versions of {len(self.rows)} days from {first}"
        )
        return f"{where}, {'committed' if self.commit else 'unchanged'}"


@dataclass
class _Claiming:
    """What a build may claim, part by part.

    Attributes:
        inputs: The versions of what landed, from before anything was read.
        rules: What it is derived by.
        watermark: Up to where everything has landed.
        is_first: Whether nothing lies before the next part.
        before: What is claimed of the days before it, and up to when that holds.
    """

    inputs: Mapping[str, int | None]
    rules: str
    watermark: datetime
    is_first: bool
    before: tuple[Claim, datetime] | None

    @classmethod
    def of(cls, lake: Lake, rules: Rules, first: date, watermark: datetime) -> "_Claiming":
        name = rules.contract.object
        rooms = ("landing/changes", "landing/snapshot", "history")
        is_first = not any(day < first for room in rooms for day in dates(lake.days(f"{room}/{name}")))
        inputs = inputs_of(lake, name)
        before = None if is_first else claimed(lake, rules, midnight(first), watermark)
        return cls(inputs, by_rules(rules), watermark, is_first, before)

    def next(self, built: Sequence[date]) -> Claim | None:
        """What may be claimed once these days are built."""
        until = min(midnight(built[-1] + ONE_DAY), self.watermark + JUST_AFTER)
        now = Claim(self.inputs, until, self.rules)
        claim = next_claim(now, self.before, midnight(built[0]), from_the_first=self.is_first)
        self.is_first, self.before = False, None if claim is None else (claim, claim.until)
        return claim


def _build_part(lake: Lake, rules: Rules, days: list[date], watermark: datetime, claiming: _Claiming) -> _Part:
    derived = _derived(lake, rules, days, watermark)
    built = [day for day in days if derived.blocked is None or day < derived.blocked]
    table = f"history/{rules.contract.object}"
    claim = claiming.next(built) if built else None
    commit = lake.replace(table, derived.versions, days=built, metadata=claim.said() if claim else None)
    if commit is None and claim is not None:
        claim_anew(lake, table, claim)
    return _Part(
        rows=_rows(derived.versions, built),
        commit=commit,
        blocked=derived.blocked,
        rejected=quarantine_rejected(lake, rules.contract, derived.rejected),
        lateness=lateness(derived.versions),
        reconciled=derived.reconciled,
    )


def _claimed_merges(lake: Lake, inputs: Mapping[str, int | None]) -> tuple[Claim, datetime] | None:
    """What the merge facts claim, and up to when that holds of the histories as they are now: day is made of day."""
    table = "history/merges"
    found = claim_of(lake, table)
    if found is None or found[0].rules != code_of(("history",)) or set(found[0].inputs) != set(inputs):
        return None
    claim, said = found
    moved = [changed_days(lake, history, claim.inputs[history], version) for history, version in inputs.items()]
    moved.append(changed_days(lake, table, said, lake.version(table)))
    if any(days is None for days in moved):
        return None
    lost = first_lost(lake, table)
    changed = [midnight(day) for days in (*moved, [] if lost is None else [lost]) for day in days or ()]
    return claim, min([*changed, claim.until])


def _one_commit(commits: Sequence[Commit]) -> Commit | None:
    """The last version, with the rows and days of all."""
    if not commits:
        return None
    days = tuple(day for commit in commits for day in commit.days)
    return replace(commits[-1], rows=sum(commit.rows for commit in commits), days=days)


def _derived(lake: Lake, rules: Rules, days: list[date], watermark: datetime) -> Derived:
    contract = rules.contract
    history = f"history/{contract.object}"
    version, opens = lake.version(history), midnight(days[0])
    earlier = [day for day in dates(lake.days(history, version)) if day < days[0]]

    def carried(since: datetime) -> pl.LazyFrame:
        return carried_versions(lake, contract, version).since(min(since, opens), days[0] - ONE_DAY)

    return derive(
        landed_changes(lake, contract, days),
        landed_snapshots(lake, contract, days, watermark),
        rules,
        past=lake.scan(history, days=earlier, schema=contract.history_schema, version=version),
        carried=carried,
        quarantined=unresolved(lake, contract.object),
    )


def _rows(frame: pl.DataFrame, days: Sequence[date]) -> dict[date, int]:
    counted = dict(frame.group_by("processed_date").len().iter_rows())
    return {day: counted.get(day, 0) for day in days}


def _silent(_: str) -> None:
    """Tells nobody."""
