"""Processes that write to a lake at the same time as others, or until they are killed; started by the tests beside it."""

import sys
from datetime import date, timedelta

import polars as pl

from crm_platform.lake import Lake, audit

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]


def rows(generation: int) -> pl.DataFrame:
    """Two hundred rows on three days that all say which generation wrote them."""
    return pl.DataFrame({"entity_id": [f"e{n:03d}" for n in range(200)]}).with_columns(
        pl.lit(generation, dtype=pl.Int64).alias("generation"),
        pl.lit(FIRST).dt.offset_by(pl.format("{}d", pl.int_range(200) % 3)).alias("processed_date"),
    )


def write(root: str, name: str) -> None:
    """Appends batches under shared and own tokens, replaces a day of its own, and writes to the audit log."""
    lake = Lake(root)
    own = FIRST + timedelta(days=10 + int(name))
    for batch in range(4):
        lake.append("landing/changes/account", rows(batch), token=f"shared-{batch}")
        lake.append("landing/changes/account", rows(100 + int(name)), token=f"{name}-{batch}")
        mine = rows(batch).with_columns(processed_date=pl.lit(own))
        lake.replace("history/account", mine, days=[own])
        audit(lake, actor=name, action="write", subject="landing/changes/account")


def rewrite(root: str) -> None:
    """Replaces three days with one generation after the other, for ever."""
    lake = Lake(root)
    generation = 0
    while True:
        generation += 1
        lake.replace("history/account", rows(generation), days=DAYS)
        lake.overwrite("current/account", rows(generation))
        print(generation, flush=True)  # noqa: T201  tells the test how far it is


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3])
    else:
        rewrite(sys.argv[2])
