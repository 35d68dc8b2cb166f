"""Keyframes: a stored timeline repeats everybody's state at the start of every month, so that no lookup goes back further.

A keyframe changes no answer: it is no news, and where a step stands at the very instant there is nothing to repeat.
"""

from datetime import datetime

import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.known import TimelineError
from crm_platform.features.portions import Frame


def with_keyframes(steps: Frame, since: datetime, until: datetime, carried: Frame | None = None) -> pl.LazyFrame:
    """The steps of a window, and the state of every entity on the 1st of each month in it, at 00:00 UTC.

    Args:
        steps: The window's steps, as build_timeline gives them.
        since: Where the window begins, inclusive.
        until: Where it ends, exclusive.
        carried: One row per entity with a step before the window: its last one, in the same columns (known_date may be
            missing or there). None if there is none, or no month begins in the window.

    Returns:
        One row per step or keyframe, sorted by entity_id and known_at.

    Raises:
        TimelineError: A bound has no time zone.
    """
    for name, moment in (("since", since), ("until", until)):
        if moment.tzinfo is None:
            raise TimelineError.naive(name, moment)
    begin, end = pl.lit(since, UTC_US), pl.lit(until, UTC_US)
    rows = steps.lazy()
    columns = rows.collect_schema().names()
    inside = rows.with_columns(pl.lit(value=False).alias("_carried"))
    before = (
        None if carried is None else carried.lazy().select(columns).with_columns(pl.lit(value=True).alias("_carried"))
    )
    everything = inside if before is None else pl.concat([before, inside])
    following = pl.col("known_at").shift(-1).over("entity_id")
    framed = everything.sort("entity_id", "known_at").with_columns(following.fill_null(end).alias("_next"))
    next_month = pl.col("known_at").dt.truncate("1mo").dt.offset_by("1mo")
    first = pl.max_horizontal(next_month, begin.dt.offset_by("-1us").dt.truncate("1mo").dt.offset_by("1mo"))
    last = pl.min_horizontal("_next", end)
    months = (
        framed.with_columns(first.alias("_first"), last.alias("_last"))
        .filter(pl.col("_first") < pl.col("_last"))
        .with_columns(pl.datetime_ranges("_first", "_last", "1mo", closed="left", time_zone="UTC").alias("known_at"))
        .explode("known_at")
    )
    return (
        pl.concat([inside.select(columns), months.select(columns)])
        .sort("entity_id", "known_at")
        .with_columns(pl.col("known_at").cast(UTC_US))
    )
