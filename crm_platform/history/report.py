"""What a build of a history table reports of itself, and how late its changes were recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import polars as pl

from crm_platform.history.reconcile import OBSERVED, Reconciled
from crm_platform.lake import Commit

Progress = Callable[[str], None]


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        table: The table.
        days: The days that stand now as this build derived them, in order.
        rows: How many rows each of them holds.
        version: The table's version afterwards; None if it does not exist.
        commit: What was committed; None where everything was there already.
        blocked: The first day that was asked for and not built, because it is red.
        rejected: How many changes went to quarantine, because no version can be made of them.
        lateness: How late changes were recorded, one row per day: processed_date, changes, late (recorded after they
            happened), late_p50, late_p99, late_max (Duration).
        reconciled: What each snapshot of the window came to.
        facts: What else is worth telling, by name.
    """

    table: str
    days: tuple[date, ...]
    rows: Mapping[date, int]
    version: int | None
    commit: Commit | None
    blocked: date | None = None
    rejected: int = 0
    lateness: pl.DataFrame = field(default_factory=pl.DataFrame)
    reconciled: tuple[Reconciled, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict[str, object])


def lateness(versions: pl.DataFrame) -> pl.DataFrame:
    """How late a stream's changes were recorded, day by day.

    Returns:
        processed_date, changes, late, late_p50, late_p99, late_max: the first two counts, the rest durations of the late.
    """
    behind = pl.col("processed_time") - pl.col("event_time")
    late = behind.filter(behind > timedelta(0))
    return (
        versions.filter(pl.col("source_position") != OBSERVED)
        .group_by("processed_date")
        .agg(
            pl.len().alias("changes"),
            late.len().alias("late"),
            late.quantile(0.5, "nearest").alias("late_p50"),
            late.quantile(0.99, "nearest").alias("late_p99"),
            late.max().alias("late_max"),
        )
        .sort("processed_date")
    )
