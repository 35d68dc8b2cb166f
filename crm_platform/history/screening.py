"""Which entities a stretch of snapshots disagrees about with history: all of them in one pass over the registers.

Most entities are alike on both sides in every snapshot. Only the others need the day by day comparison of `reconcile`,
where what one snapshot repairs is known to the next.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US, Contract
from crm_platform.history.codes import Flags, Ints
from crm_platform.history.registers import Steps, steps_of


def suspects(
    versions: pl.DataFrame | pl.LazyFrame, snapshots: Sequence[tuple[datetime, pl.DataFrame]], contract: Contract
) -> pl.Series:
    """The entities that some snapshot shows otherwise than history did at its moment, or that one of the two lacks.

    Args:
        versions: One row per version, in history's columns.
        snapshots: The moments, in order, and the rows shown: entity_id and the object's columns, one row per entity.
        contract: The object's contract.

    Returns:
        Their entity_ids, sorted.
    """
    fields = [name for name in contract.columns if name != contract.key]
    steps = steps_of(versions, fields)
    moments = pl.Series([moment for moment, _ in snapshots], dtype=UTC_US).to_physical()
    shown = pl.concat(
        rows.select("entity_id", *fields).with_columns(pl.lit(at, pl.Int64).alias("_at"))
        for at, (_, rows) in zip(moments, snapshots, strict=True)
    ).sort("_at", maintain_order=True)
    held = pl.DataFrame({"entity_id": steps.ids.gather(pl.Series(steps.entity)), "_since": steps.since}).with_row_index(
        "_step"
    )
    beside = shown.join_asof(
        held.sort("_since"),
        left_on="_at",
        right_on="_since",
        by="entity_id",
        strategy="backward",
        check_sortedness=False,
    )
    found = beside.filter(pl.col("_step").is_not_null())
    step = found.get_column("_step").to_numpy().astype(np.int64)
    living = ~steps.is_tombstone[step]
    alike = living.copy()
    for name in fields:
        alike &= found.get_column(name).eq_missing(steps.shown(name, step)).to_numpy()
    unlike = pl.concat([found.filter(pl.Series(~alike)), beside.filter(pl.col("_step").is_null())])
    return (
        pl.concat(
            [
                unlike.get_column("entity_id"),
                _absent(steps.ids, _moments_alive(steps, moments.to_numpy()), found, living),
            ]
        )
        .unique()
        .sort()
    )


def _moments_alive(steps: Steps, moments: Ints) -> Ints:
    """At how many of the moments each entity lives."""
    counted = np.searchsorted(moments, steps.until, "left") - np.searchsorted(moments, steps.since, "left")
    alive = np.bincount(steps.entity, weights=np.where(steps.is_tombstone, 0, counted), minlength=len(steps.ids))
    return alive.astype(np.int64)


def _absent(ids: pl.Series, alive: Ints, found: pl.DataFrame, living: Flags) -> pl.Series:
    """The entities that live at more moments than snapshots show them alive."""
    counted = found.filter(pl.Series(living)).group_by("entity_id").len()
    beside = pl.DataFrame({"entity_id": ids, "_alive": alive}).join(counted, on="entity_id", how="left")
    return beside.filter(pl.col("_alive") > pl.col("len").fill_null(0)).get_column("entity_id")
