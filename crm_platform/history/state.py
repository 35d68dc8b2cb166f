"""The state of every entity as known at a moment: DESIGN 2, in one pass and for one moment.

What is asked about many moments at once stands in `features`; who is merged into whom in `links`.
"""

from datetime import datetime

import polars as pl

from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.history.links import roots_of
from crm_platform.history.registers import TIMES, check_times, version_rows, writes_field

COMMON = frozenset(
    {
        "entity_id",
        "event_time",
        "processed_time",
        "source_position",
        "operation",
        "is_tombstone",
        "merged_into",
        "changed_fields",
        "processed_date",
        "known_at",
    }
)
"""Columns of a version that are no field of the entity; neither is one that begins with an underscore."""


class NaiveMomentError(PermanentError):
    """A moment has no time zone."""

    @classmethod
    def of(cls, name: str, moment: datetime) -> "NaiveMomentError":
        """Names the moment."""
        return cls(f"{name} {moment.isoformat()} has no time zone. Give it in UTC, as datetime(…, tzinfo=UTC).")


def state_as_of(
    versions: pl.DataFrame | pl.LazyFrame, as_of: datetime, merges: pl.DataFrame | pl.LazyFrame | None = None
) -> pl.DataFrame:
    """The living entities as known at a moment.

    Every field shows the write of the greatest version known by then; entities whose greatest version is a tombstone,
    or that are merged into another one, are left out afterwards.

    Args:
        versions: One row per version, in history's columns; those that are not needed may be absent.
        as_of: The moment (inclusive).
        merges: One row per merge fact: loser_id, winner_id, event_time, processed_time; None for none.

    Returns:
        One row per living entity: entity_id and the fields, null where nobody has written one; sorted by entity_id.

    Raises:
        NaiveMomentError: as_of has no time zone.
        VersionsError: A column is missing or a time is none.
    """
    if as_of.tzinfo is None:
        raise NaiveMomentError.of("as_of", as_of)
    moment = pl.lit(as_of, UTC_US)
    lazy = versions.lazy()
    fields = [name for name in lazy.collect_schema() if name not in COMMON and not name.startswith("_")]
    check_times(lazy.collect_schema(), "versions", TIMES)
    known = lazy.filter(pl.max_horizontal(TIMES) <= moment)
    rows = version_rows(known, fields, "versions").lazy()
    shown = [pl.col(name).filter(writes_field(name)).last().alias(name) for name in fields]
    state = (
        rows.group_by("entity_id", maintain_order=True)
        .agg(pl.col("is_tombstone").last(), *shown)
        .filter(~pl.col("is_tombstone"))
        .drop("is_tombstone")
        .collect()
    )
    if merges is None:
        return state
    at = moment.to_physical()
    merged = roots_of(merges).pieces.filter(
        pl.col("since") <= at, at < pl.col("until"), pl.col("root_id") != pl.col("entity_id")
    )
    return state.join(merged, on="entity_id", how="anti", maintain_order="left")
