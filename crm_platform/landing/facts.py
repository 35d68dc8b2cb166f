"""What landing can tell of its days: rows, quarantine, lateness.

Reads landed tables; what is alarming about the numbers is judged in `quality`.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any

import polars as pl

from crm_platform.contracts import QUARANTINE, UTC_US
from crm_platform.lake import Lake

_PROVENANCE = pl.Schema({"processed_date": pl.Date(), "processed_time": UTC_US, "_ingested_at": UTC_US})


def landed_facts(lake: Lake, object_name: str, days: Iterable[date]) -> dict[date, dict[str, Any]]:
    """What landed of one object's changes on each of the days, the quiet ones included.

    Returns:
        By day: `rows`, `quarantined` (not resolved), `delta_version`, and the time from a row's recording to its
        landing, `lag_p50` and `lag_p99` (null without rows; large wherever an old day was loaded later).
    """
    wanted = sorted(set(days))
    table = f"landing/changes/{object_name}"
    lag = pl.col("_ingested_at") - pl.col("processed_time")
    rows = (
        lake.scan(table, days=wanted, schema=_PROVENANCE)
        .group_by("processed_date")
        .agg(pl.len().alias("rows"), lag.median().alias("lag_p50"), lag.quantile(0.99).alias("lag_p99"))
    )
    refused = (
        lake.scan(f"quarantine/{object_name}", days=wanted, schema=QUARANTINE)
        .filter(pl.col("resolved_by").is_null())
        .group_by("processed_date")
        .agg(pl.len().alias("quarantined"))
    )
    told = (
        pl.LazyFrame({"processed_date": pl.Series(wanted, dtype=pl.Date)})
        .join(rows, on="processed_date", how="left")
        .join(refused, on="processed_date", how="left")
        .with_columns(pl.col("rows", "quarantined").fill_null(0), pl.lit(lake.version(table)).alias("delta_version"))
    )
    return {facts.pop("processed_date"): facts for facts in told.collect().iter_rows(named=True)}
