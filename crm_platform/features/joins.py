"""The point-in-time join: to every question, the timeline step in force at its moment.

Rows out are rows in, in the spine's order. How a timeline comes about stands in `timelines`, what a spine must be in
`spines`.
"""

from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.searches import Questions, at_rest, in_passing
from crm_platform.features.spines import SpineError, check_spine, micros_of, moments_of, refuse_taken, since_then
from crm_platform.features.windows import MICROSECOND
from crm_platform.history.codes import Ints, gathered
from crm_platform.history.registers import VersionsError

Timeline = pl.DataFrame | pl.LazyFrame

ADDED_NEVER = frozenset({"entity_id", "known_at", "changed_at", "known_date"})
"""A join adds the features and is_deleted, nothing else."""


def point_in_time_join(
    spine: pl.DataFrame,
    timeline: Timeline | Mapping[str, Timeline],
    *,
    on: str = "entity_id",
    ttl: timedelta | None = None,
    embargo: timedelta = timedelta(0),
    inclusive: bool = True,
) -> pl.DataFrame:
    """Attaches to each spine row the timeline step in force at `as_of - embargo`.

    Args:
        spine: One row per question: the entity's key, as_of (with time zone), anything else.
        timeline: One row per step: entity_id, known_at (UTC, µs), features; or several timelines by name, whose columns
            get the prefix `{name}__`.
        on: What the spine calls the entity's key.
        ttl: Oldest age of the last news (changed_at, or known_at where there is none) that still counts, inclusive,
            counted from as_of; None for no limit.
        embargo: How much older than as_of the answer shall be.
        inclusive: Whether what happens exactly at the looked-up moment counts.

    Returns:
        The spine's rows in the spine's order, plus is_deleted and the features; null where nothing was known. Beside
        last_at stands `recency` (as_of - last_at), beside {field}_since `{field}_days`.

    Raises:
        SpineError: The spine lacks a column, as_of is naive, a column is taken, or a stretch of time is negative.
        VersionsError: The timeline lacks a column, or its known_at is no UTC time.
    """
    check_spine(spine, on)
    for name, span in (("embargo", embargo), ("ttl", ttl)):
        if span is not None and span < timedelta(0):
            raise SpineError.negative(name, span)
    as_of = moments_of(spine)
    moment = micros_of(as_of) - embargo // MICROSECOND - (0 if inclusive else 1)
    oldest = None if ttl is None else micros_of(as_of) - ttl // MICROSECOND
    named = {f"{name}__": one for name, one in timeline.items()} if isinstance(timeline, Mapping) else {"": timeline}
    joined = spine
    for prefix, steps in named.items():
        found = since_then(_in_force(spine[on], moment, oldest, steps), as_of)
        found = found.rename({name: f"{prefix}{name}" for name in found.columns})
        refuse_taken(joined, found.columns)
        joined = joined.hstack(found) if found.width else joined
    return joined


def _in_force(keys: pl.Series, moment: Ints, oldest: Ints | None, timeline: Timeline) -> pl.DataFrame:
    """The columns of the last step at or before each moment, or nulls."""
    lazy = timeline.lazy()
    schema = lazy.collect_schema()
    missing = [name for name in ("entity_id", "known_at") if name not in schema]
    if missing:
        raise VersionsError.lacking("steps of a timeline", missing)
    if schema["known_at"] != UTC_US:
        raise VersionsError.untimed("steps of a timeline", "known_at", schema["known_at"])
    if schema["entity_id"] != keys.dtype and keys.null_count() < len(keys):
        raise SpineError.key_type(keys.name, keys.dtype, schema["entity_id"])
    added = [name for name in schema if name not in ADDED_NEVER]
    if not added:
        return pl.DataFrame()
    aged = ["changed_at"] if oldest is not None and "changed_at" in schema else []
    lazy = lazy.select("entity_id", "known_at", *aged, *added)
    asked = Questions.of(keys.cast(schema["entity_id"]), moment, oldest)
    found = in_passing(lazy, asked, added) if isinstance(timeline, pl.LazyFrame) else None
    steps, rows = at_rest(lazy.collect(), asked, added) if found is None else found
    place = np.full(len(keys), -1, dtype=np.int64)
    place[asked.places] = rows
    return gathered(steps, place)
