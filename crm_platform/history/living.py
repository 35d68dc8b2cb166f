"""What of a history still matters from a moment on: all of it that a later state can show, and nothing else.

Pure. The versions that win a register at the moment, and those that become known later: together with whatever is
recorded afterwards they give every later state exactly as the whole history does, so that an increment needs no other
kernel, only fewer rows. Where they are kept is `carried`'s.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.history.registers import TIMES, steps_of


def living(versions: pl.DataFrame | pl.LazyFrame, as_of: datetime, fields: Sequence[str]) -> pl.DataFrame:
    """The versions that still matter after a moment.

    For every T from `as_of` on, the registers at T of these and of whatever becomes known later are those of all
    versions. A version that comes in late, known before `as_of`, needs the whole history again.

    Args:
        versions: One row per version, in history's columns.
        as_of: The moment (inclusive).
        fields: The registers that will be asked for, beside `is_deleted`.

    Returns:
        One row per version that shows in a register at the moment, is its entity's greatest, or becomes known later:
        entity_id, the version order, is_tombstone, changed_fields and the fields; sorted by entity and version order.

    Raises:
        VersionsError: A column is missing or a time is none.
    """
    steps = steps_of(versions, fields)
    at = pl.Series([as_of], dtype=UTC_US).to_physical().item()
    now = (steps.since <= at) & (at < steps.until)
    known = steps.known
    matters = known > at
    for shown in {id(array): array for array in (steps.newest, *steps.winners.values())}.values():
        winners = shown[now]
        matters[winners[winners >= 0]] = True
    return steps.rows.filter(pl.Series(matters.astype(np.bool_)))


def living_links(merges: pl.DataFrame | pl.LazyFrame, as_of: datetime) -> pl.DataFrame:
    """The merge facts that still matter after a moment: each loser's greatest, and those that become known later.

    Args:
        merges: One row per fact: loser_id, winner_id (null unmerges), event_time, processed_time, anything else; ids
            are those of one object each, where a column `object` says of which.
        as_of: The moment (inclusive).
    """
    facts = merges.lazy().sort(*TIMES, "winner_id", maintain_order=True).with_row_index("_fact").collect()
    later = pl.max_horizontal(TIMES) > pl.lit(as_of, UTC_US)
    loser = [name for name in ("object", "loser_id") if name in facts.columns]
    greatest = facts.filter(~later).group_by(loser).agg(pl.col("_fact").last())
    return facts.filter(later | pl.col("_fact").is_in(greatest["_fact"].implode())).drop("_fact")
