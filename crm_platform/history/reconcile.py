"""A snapshot against the stream: what the first one tells, and what a later one repairs.

Pure: the snapshot's rows, the state that history gives at its moment, and the keys to leave alone come in; versions and
a tally go out. Reading them and putting days in order is `build`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from crm_platform.contracts import UTC_US, Contract
from crm_platform.history.versions import as_versions

OBSERVED = "!snapshot"
"""The source position of what a snapshot tells: below every position of a stream, so that the stream wins a tie."""

ORIGIN = "reconciliation"
EXAMPLES = 20


@dataclass(frozen=True)
class Snapshot:
    """When a landed export read the CRM, and what it claims.

    Attributes:
        day: The day it landed under: that of finished_at.
        started_at: When it began to read.
        finished_at: When it had read everything; equal to started_at for a dated export.
        is_complete: Whether it claims to hold every living row.
        batch_id: The batch that landed it.
        ingested_at: When it landed.
    """

    day: date
    started_at: datetime
    finished_at: datetime
    is_complete: bool
    batch_id: str
    ingested_at: datetime


@dataclass(frozen=True)
class Reconciled:
    """What one snapshot came to.

    Attributes:
        snapshot: The snapshot.
        versions: What it adds to history, in history's columns.
        counts: How many entities fell under which kind: rows, living, equal, left_out (not compared, since they changed
            around the snapshot), snapshot, repair, inferred_delete, quarantined (missing, and quarantined), withheld
            (missing, but not inferred).
        examples: Up to 20 entity ids of every kind that says something was wrong.
        is_over_limit: Whether more was missing than the manifest allows, so that nothing was inferred.
    """

    snapshot: Snapshot
    versions: pl.DataFrame
    counts: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)
    is_over_limit: bool = False


def first_told(rows: pl.DataFrame, snapshot: Snapshot, contract: Contract, edited: str | None) -> Reconciled:
    """The `snapshot` versions of an object's first snapshot.

    Args:
        rows: One row per living entity: entity_id and the object's columns.
        snapshot: When it was taken.
        contract: The object's contract.
        edited: The column with the time of the edit; None where the CRM has none, or a row's may be null: started_at.
    """
    since = _utc(snapshot.started_at)
    event_time = since if edited is None else pl.coalesce(edited, since)
    told = _full_images(rows.with_columns(event_time.alias("event_time")), snapshot, contract, "snapshot")
    return Reconciled(snapshot, told, {"rows": rows.height, "snapshot": told.height})


def all_alike(snapshot: Snapshot, rows: int, no_versions: pl.DataFrame) -> Reconciled:
    """What a snapshot comes to that history equals in every entity."""
    kinds = ("left_out", "repair", "inferred_delete", "quarantined", "withheld")
    counts = {"rows": rows, "living": rows, "equal": rows} | dict.fromkeys(kinds, 0)
    return Reconciled(snapshot, no_versions, counts)


def reconcile(
    rows: pl.DataFrame,
    state: pl.DataFrame,
    snapshot: Snapshot,
    contract: Contract,
    *,
    left_out: pl.DataFrame,
    quarantined: pl.DataFrame,
    allows: Callable[[int, int], bool],
    others: int = 0,
) -> Reconciled:
    """Compares a later snapshot with the state that history gives at its moment.

    Args:
        rows: One row per entity of the snapshot: entity_id and the object's columns.
        state: One row per living entity as history knows it at finished_at: entity_id and the object's columns.
        snapshot: When it was taken.
        contract: The object's contract.
        left_out: entity_id of those that changed around the snapshot, of which it proves nothing.
        quarantined: entity_id of those with a row in quarantine: never taken for deleted.
        allows: Whether so many missing (first) of so many living (second) may be taken for deletes.
        others: How many entities beside these are alike on both sides, and not handed in.
    """
    compared = rows.join(left_out, on="entity_id", how="anti")
    known = state.select("entity_id", *contract.columns).join(left_out, on="entity_id", how="anti")
    differs = pl.any_horizontal(
        pl.col("_known").is_null(),
        *(pl.col(name).ne_missing(pl.col(f"{name}:known")) for name in contract.columns if name != contract.key),
    )
    beside = compared.join(
        known.rename({name: f"{name}:known" for name in contract.columns}).with_columns(
            pl.lit(value=True).alias("_known")
        ),
        on="entity_id",
        how="left",
    )
    broken = beside.filter(differs)
    missing = known.join(compared, on="entity_id", how="anti").select("entity_id")
    unsure = missing.join(quarantined, on="entity_id", how="semi")
    gone = missing.join(quarantined, on="entity_id", how="anti")
    over = snapshot.is_complete and not allows(gone.height, state.height + others)
    inferred = gone if snapshot.is_complete and not over else gone.clear()
    since = _utc(snapshot.started_at).alias("event_time")
    versions = pl.concat(
        [
            _full_images(broken.with_columns(since), snapshot, contract, "repair", ORIGIN),
            as_versions(
                inferred.lazy().with_columns(since, *_told_by(snapshot, "inferred_delete", ORIGIN)),
                contract,
            ).collect(),
        ]
    )
    counts = {
        "rows": rows.height + others,
        "living": state.height + others,
        "left_out": rows.height - compared.height,
        "equal": beside.height - broken.height + others,
        "repair": broken.height,
        "inferred_delete": inferred.height,
        "quarantined": unsure.height,
        "withheld": gone.height - inferred.height,
    }
    examples = {"repair": _ids(broken), "inferred_delete": _ids(inferred)}
    if not inferred.height:
        examples["withheld"] = _ids(gone)
    return Reconciled(snapshot, versions, counts, {kind: ids for kind, ids in examples.items() if ids}, over)


def _ids(rows: pl.DataFrame) -> list[str]:
    return rows.get_column("entity_id").sort().head(EXAMPLES).to_list()


def _full_images(
    rows: pl.DataFrame, snapshot: Snapshot, contract: Contract, operation: str, origin: str | None = None
) -> pl.DataFrame:
    told = rows.lazy().select("entity_id", "event_time", *contract.columns, *_told_by(snapshot, operation, origin))
    return as_versions(told, contract).collect()


def _told_by(snapshot: Snapshot, operation: str, origin: str | None) -> list[pl.Expr]:
    return [
        _utc(snapshot.finished_at).alias("processed_time"),
        pl.lit(OBSERVED).alias("source_position"),
        pl.lit(operation).alias("operation"),
        pl.lit(origin, pl.String).alias("_change_origin"),
        pl.lit("snapshot").alias("_channel"),
        pl.lit(snapshot.batch_id).alias("_batch_id"),
        _utc(snapshot.ingested_at).alias("_ingested_at"),
    ]


def _utc(moment: datetime) -> pl.Expr:
    return pl.lit(moment, UTC_US)
