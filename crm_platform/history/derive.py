"""The history of a window of days: versions of its changes, in one pass, and what its snapshots add, in order.

Pure, and a function of what landed alone: deriving a window again gives the same, and so does deriving it in parts.
What is read and written for it stands in `build`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.history.reconcile import OBSERVED, Reconciled, Snapshot, first_told, reconcile
from crm_platform.history.state import state_as_of
from crm_platform.history.versions import SORTED_BY, Knowledge, listed_losers, versions_from
from crm_platform.sources import Manifest


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
    quarantined: pl.DataFrame,
) -> Derived:
    """Derives the history of a window.

    Args:
        changes: What landed in the window (the contract's change columns; the payload is not read).
        told: The window's snapshots, in the order of finished_at.
        rules: What the manifest says.
        past: The history of all days before the window; read only where a snapshot or a list of old ids asks for it.
        quarantined: entity_id and processed_date of the object's unresolved quarantine.
    """
    contract = rules.contract
    made = versions_from(changes, contract, lists_losers=rules.list_column is not None, knowledge=rules.knowledge)
    kept, rejected = pl.collect_all([made.kept, made.rejected])
    if rules.list_column is not None:
        kept = pl.concat([kept, _losers(kept, rules.list_column, contract, past)])
    doubted = pl.concat([quarantined, rejected.select("entity_id", "processed_date")])
    pool: pl.DataFrame | None = None
    reconciled: list[Reconciled] = []
    for one in told:
        if one.is_first:
            found = first_told(one.rows, one.snapshot, contract, rules.edit_column)
        else:
            if pool is None:
                pool = pl.concat([past.collect(), kept, *(earlier.versions for earlier in reconciled)])
            found = _compared(one, pool, rules, doubted)
        added = found.versions
        if rules.list_column is not None and not added.is_empty():
            before = pl.concat([past, kept.lazy(), *(earlier.versions.lazy() for earlier in reconciled)])
            by_then = before.filter(pl.col("processed_time") <= one.snapshot.finished_at)
            losers = _losers(added, rules.list_column, contract, by_then, by_streams=False)
            added = pl.concat([added, losers])
        reconciled.append(Reconciled(found.snapshot, added, found.counts, found.examples, found.is_over_limit))
        if found.is_over_limit:
            break
        if pool is not None:
            pool = pl.concat([pool, added])
    versions = pl.concat([kept, *(found.versions for found in reconciled)])
    blocked = next((found.snapshot.day for found in reconciled if found.is_over_limit), None)
    if blocked is not None:
        versions = versions.filter(pl.col("processed_date") < blocked)
    return Derived(versions.sort(SORTED_BY), rejected, tuple(reconciled), blocked)


def touched_around(versions: pl.LazyFrame, since: datetime, until: datetime) -> pl.LazyFrame:
    """The entities with a version that happened or was recorded in `[since, until]`: a snapshot proves nothing of them.

    Returns:
        entity_id, once each.
    """
    inside = pl.any_horizontal(pl.col(axis).is_between(since, until) for axis in ("event_time", "processed_time"))
    return versions.filter(inside).select("entity_id").unique()


def _compared(told: Told, pool: pl.DataFrame, rules: Rules, doubted: pl.DataFrame) -> Reconciled:
    when = told.snapshot
    known = pool.lazy().filter(pl.col("processed_time") <= when.finished_at)
    return reconcile(
        told.rows,
        state_as_of(known, when.finished_at),
        when,
        rules.contract,
        left_out=touched_around(pool.lazy(), when.started_at - rules.settling_lag, when.finished_at).collect(),
        quarantined=doubted.filter(pl.col("processed_date") <= when.day).select("entity_id").drop_nulls().unique(),
        allows=rules.allows,
    )


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
