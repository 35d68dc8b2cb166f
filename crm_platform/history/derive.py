"""The history of a window of days: versions of its changes, in one pass, and what its snapshots add, in order.

Pure, and a function of what landed alone: deriving a window again gives the same, and so does deriving it in parts.
What is read and written for it stands in `build`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.history.reconcile import OBSERVED, Reconciled, Snapshot, all_alike, first_told, reconcile
from crm_platform.history.screening import suspects
from crm_platform.history.state import state_as_of
from crm_platform.history.versions import IDENTITY, SORTED_BY, Knowledge, listed_ids, listed_losers, versions_from
from crm_platform.sources import Manifest

CHUNK_ROWS = 300_000
"""How many rows of snapshots are held and compared at once."""


@dataclass(frozen=True)
class Rules:
    """What a manifest says about one object, as far as history asks.

    Attributes:
        contract: The object's contract.
        knowledge: What proves when a change was recorded.
        list_column: The column in which a merge's winner lists the old ids; None where it shows otherwise.
        edit_column: The column with the time of the edit, if any.
        manifest: The rest.
    """

    contract: Contract
    knowledge: Knowledge
    list_column: str | None
    edit_column: str | None
    settling_lag: timedelta
    manifest: Manifest

    def allows(self, missing: int, living: int) -> bool:
        """Whether so many missing among so many living may be taken for deletes."""
        return self.manifest.inferred_delete_limit.allows(missing, living)


def rules_of(manifest: Manifest, contract: Contract) -> Rules:
    """What the manifest says about an object.

    Raises:
        UnknownObjectError: The manifest has no such object.
    """
    spec = manifest.spec(contract.object)
    return Rules(
        contract=contract,
        knowledge=manifest.knowledge,
        list_column=spec.merges.column if spec.merges.style == "listed" else None,
        edit_column=spec.event_time,
        settling_lag=manifest.settling_lag,
        manifest=manifest,
    )


@dataclass(frozen=True)
class Told:
    """A landed snapshot: when it was taken, its rows (entity_id and the object's columns), and whether it is the first."""

    snapshot: Snapshot
    rows: pl.DataFrame
    is_first: bool


@dataclass(frozen=True)
class Derived:
    """What a window comes to.

    Attributes:
        versions: Its history, up to the day that blocks, in history's columns.
        rejected: Its changes that no version can be made of: history's columns and `rule`.
        reconciled: What each snapshot came to, in order.
        blocked: The day whose snapshot lacks more than the manifest allows; neither it nor a later one is in versions.
    """

    versions: pl.DataFrame
    rejected: pl.DataFrame
    reconciled: tuple[Reconciled, ...]
    blocked: date | None


def derive(
    changes: pl.LazyFrame,
    told: Iterable[Told],
    rules: Rules,
    *,
    past: pl.LazyFrame,
    carried: Callable[[datetime], pl.LazyFrame],
    quarantined: pl.DataFrame,
) -> Derived:
    """Derives the history of a window.

    Args:
        changes: What landed in the window (the contract's change columns; the payload is not read).
        told: The window's snapshots, in the order of finished_at.
        rules: What the manifest says.
        past: The history of all days before the window; read only where a list of old ids asks for it, or where arrival
            is the only proof.
        carried: Of that, what gives every state from a moment on; read only for snapshots.
        quarantined: entity_id and processed_date of the object's unresolved quarantine.
    """
    contract = rules.contract
    landed = changes.select(list(contract.history_schema)).collect()
    made = versions_from(
        landed.lazy(), contract, lists_losers=rules.list_column is not None, knowledge=rules.knowledge, past=past
    )
    kept, rejected = pl.collect_all([made.kept, made.rejected])
    if rules.list_column is not None:
        kept = pl.concat([kept, _losers(kept, rules.list_column, contract, past)])
    doubted = pl.concat([quarantined, rejected.select("entity_id", "processed_date")])
    reconciled: list[Reconciled] = []
    for found in _reconciled(told, kept, (past, carried), rules, doubted):
        reconciled.append(found)
        if found.is_over_limit:
            break
    versions = pl.concat([kept, *(found.versions for found in reconciled)])
    blocked = next((found.snapshot.day for found in reconciled if found.is_over_limit), None)
    if blocked is not None:
        versions = versions.filter(pl.col("processed_date") < blocked)
    return Derived(versions.sort(SORTED_BY), rejected, tuple(reconciled), blocked)


def compared(
    pool: pl.DataFrame,
    told: Sequence[Told],
    rules: Rules,
    doubted: pl.DataFrame,
    *,
    completed: Callable[[Reconciled], Reconciled] | None = None,
) -> Iterator[Reconciled]:
    """Compares snapshots with the history known at each; what one repairs is known to the next.

    Args:
        pool: The versions known so far, in the columns that registers need; what was recorded after a snapshot, or told
            by one, may be among them.
        told: The snapshots, none of them the first, in the order of finished_at.
        rules: What the manifest says.
        doubted: entity_id and processed_date of quarantined rows.
        completed: What else follows from what a snapshot told, before the next one is compared.
    """
    contract = rules.contract
    ids = suspects(pool, [(one.snapshot.finished_at, one.rows) for one in told], contract)
    if rules.list_column is not None:
        listed = [one.rows.select(listed_ids(contract, rules.list_column).explode()).to_series() for one in told]
        ids = pl.concat([ids, *listed]).drop_nulls().unique()
    if ids.is_empty():
        nothing = pl.DataFrame(schema=contract.history_schema)
        yield from (all_alike(one.snapshot, one.rows.height, nothing) for one in told)
        return
    mine = pl.col("entity_id").is_in(ids.implode())
    suspicious = pool.filter(mine)
    for one in told:
        when, rows = one.snapshot, one.rows.filter(mine)
        own = (pl.col("source_position") == OBSERVED) & (pl.col("processed_time") == when.finished_at)
        changes = suspicious.filter(~own)
        found = reconcile(
            rows,
            state_as_of(suspicious.lazy().filter(pl.col("processed_time") <= when.finished_at), when.finished_at),
            when,
            contract,
            left_out=touched_around(changes.lazy(), when.started_at - rules.settling_lag, when.finished_at).collect(),
            quarantined=doubted.filter(pl.col("processed_date") <= when.day).select("entity_id").drop_nulls().unique(),
            allows=rules.allows,
            others=one.rows.height - rows.height,
        )
        whole = found if completed is None else completed(found)
        yield whole
        suspicious = pl.concat([suspicious, whole.versions.select(pool.columns)])


def chunks(told: Iterable[Told], rows: int | None = None) -> Iterator[list[Told]]:
    """Snapshots to be compared together: the first stands alone, the others as far as their rows fit (CHUNK_ROWS)."""
    most = CHUNK_ROWS if rows is None else rows
    held: list[Told] = []
    for one in told:
        if one.is_first:
            yield [one]
            continue
        held.append(one)
        if sum(each.rows.height for each in held) >= most:
            yield held
            held = []
    if held:
        yield held


def touched_around(versions: pl.LazyFrame, since: datetime, until: datetime) -> pl.LazyFrame:
    """The entities with a version that happened or was recorded in `[since, until]`: a snapshot proves nothing of them.

    What was recorded after `until` is left aside, whatever its date: nobody knew of it, and the past would change with it.

    Returns:
        entity_id, once each.
    """
    inside = pl.any_horizontal(pl.col(axis).is_between(since, until) for axis in ("event_time", "processed_time"))
    return versions.filter(inside, pl.col("processed_time") <= until).select("entity_id").unique()


def looks_back_to(told: Sequence[Told], rules: Rules) -> datetime:
    """The earliest moment that comparing snapshots looks at."""
    return min(one.snapshot.started_at for one in told) - rules.settling_lag


def _reconciled(
    told: Iterable[Told],
    kept: pl.DataFrame,
    before_window: tuple[pl.LazyFrame, Callable[[datetime], pl.LazyFrame]],
    rules: Rules,
    doubted: pl.DataFrame,
) -> Iterator[Reconciled]:
    """What each snapshot adds to the window's own versions, the losers that its rows list among it."""
    past, carried = before_window
    added: list[pl.DataFrame] = [kept]

    def completed(found: Reconciled) -> Reconciled:
        before = pl.concat([past, *(versions.lazy() for versions in added)])
        whole = _with_losers(found, before.filter(pl.col("processed_time") <= found.snapshot.finished_at), rules)
        added.append(whole.versions)
        return whole

    for chunk in chunks(told):
        if chunk[0].is_first:
            yield completed(first_told(chunk[0].rows, chunk[0].snapshot, rules.contract, rules.edit_column))
            continue
        pool = carried(looks_back_to(chunk, rules)).select(deciding_columns(rules.contract)).collect()
        known = pl.concat([pool, *(versions.select(pool.columns) for versions in added)])
        yield from compared(known, chunk, rules, doubted, completed=completed)


def deciding_columns(contract: Contract) -> list[str]:
    """The columns of a version that decide what its entity is."""
    return [*IDENTITY, "is_tombstone", "changed_fields", *contract.columns]


def _with_losers(found: Reconciled, before: pl.LazyFrame, rules: Rules) -> Reconciled:
    """With the merges that the snapshot's rows list; who is merged away is not taken for deleted besides."""
    if rules.list_column is None or found.versions.is_empty():
        return found
    losers = _losers(found.versions, rules.list_column, rules.contract, before, by_streams=False)
    merged = pl.col("entity_id").is_in(losers.get_column("entity_id").implode())
    told = found.versions.filter(~merged | (pl.col("operation") != "inferred_delete"))
    inferred = told.filter(pl.col("operation") == "inferred_delete").height
    counts = found.counts | ({"inferred_delete": inferred} if "inferred_delete" in found.counts else {})
    return replace(found, versions=pl.concat([told, losers]), counts=counts)


def _losers(
    versions: pl.DataFrame, column: str, contract: Contract, before: pl.LazyFrame, *, by_streams: bool = True
) -> pl.DataFrame:
    """The losers that these versions list and no earlier one did; a stream's listings do not look at a snapshot's."""
    if versions.get_column(column).null_count() == versions.height:
        return versions.clear()
    listed = before.filter(pl.col("operation") == "merge")
    if by_streams:
        listed = listed.filter(pl.col("source_position") != OBSERVED)
    earlier = listed.select(
        pl.col("entity_id").alias("loser_id"), pl.col("merged_into").alias("winner_id"), "event_time"
    )
    return listed_losers(versions.lazy(), contract, column, earlier).collect()
