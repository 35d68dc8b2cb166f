"""The gate: which partitions are red, since when, by which check; what builds ask before they go on.

A red partition is a line in `gate/red`, its mending another; neither is ever changed. Who judges stands in `quality`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from crm_platform.contracts.envelope import RED
from crm_platform.lake.store import Lake

TABLE = "gate/red"
_KEY = ["asset", "day", "check", "since"]


@dataclass(frozen=True)
class Red:
    """A partition that must not be built upon: the table, its day, the check that failed, and what it found."""

    asset: str
    day: date
    check: str
    since: datetime
    detail: str


def red_partitions(lake: Lake) -> list[Red]:
    """All red partitions, by table, day and check."""
    told = lake.scan(TABLE, schema=RED)
    mended = told.filter(pl.col("resolved_at").is_not_null())
    held = told.filter(pl.col("resolved_at").is_null()).join(mended, on=_KEY, how="anti")
    rows = held.unique(["asset", "day", "check"], keep="first", maintain_order=True).sort(_KEY)
    return [Red(**row) for row in rows.drop("resolved_at").collect().iter_rows(named=True)]


def red_days(lake: Lake, table: str) -> list[date]:
    """The red days of a table, in order."""
    return sorted({red.day for red in red_partitions(lake) if red.asset == table})


def first_red_day(lake: Lake, tables: Iterable[str]) -> date | None:
    """The earliest day on which any of the tables is red."""
    wanted = set(tables)
    return min((red.day for red in red_partitions(lake) if red.asset in wanted), default=None)


def mendings(lake: Lake) -> int:
    """How often a red partition was seen to be mended, ever."""
    return lake.scan(TABLE, schema=RED).filter(pl.col("resolved_at").is_not_null()).select(pl.len()).collect().item()


def hold(lake: Lake, table: str, day: date, check: str, detail: str, *, since: datetime | None = None) -> bool:
    """Marks a day of a table as red; one that is red by this check stays as it is.

    Args:
        lake: Where the gate lies.
        table: The table whose day is wrong.
        day: The day.
        check: The check that says so.
        detail: What it found: columns, rules, counts; no data.
        since: When it was found; None for now.

    Returns:
        Whether it became red.
    """
    if any((red.asset, red.day, red.check) == (table, day, check) for red in red_partitions(lake)):
        return False
    found = since or datetime.now(UTC)
    row = {"asset": table, "day": day, "check": check, "since": found, "detail": detail, "resolved_at": None}
    token = f"red:{table}:{day}:{check}:{found.isoformat()}"
    return lake.append(TABLE, pl.DataFrame([row], schema=RED), token=token) is not None


def release(
    lake: Lake, table: str, days: Iterable[date], check: str | None = None, *, resolved_at: datetime | None = None
) -> list[date]:
    """Marks days of a table as mended, for one check or for all of them.

    Returns:
        The days that were red and are not any more, by these checks.
    """
    wanted = set(days)
    told = lake.scan(TABLE, schema=RED).collect()
    mended = told.filter(pl.col("resolved_at").is_not_null())
    open_lines = told.filter(
        pl.col("resolved_at").is_null(),
        pl.col("asset") == table,
        pl.col("day").is_in(list(wanted)),
        pl.lit(value=True) if check is None else pl.col("check") == check,
    ).join(mended, on=_KEY, how="anti")
    if open_lines.is_empty():
        return []
    when = resolved_at or datetime.now(UTC)
    lines = open_lines.with_columns(pl.lit(when).dt.cast_time_unit("us").alias("resolved_at")).cast(dict(RED))  # pyright: ignore[reportArgumentType]
    keys = lines.select(_KEY).hash_rows().sort().implode().hash().item()
    lake.append(TABLE, lines, token=f"well:{table}:{keys:x}")
    return sorted(set(open_lines.get_column("day").to_list()))
