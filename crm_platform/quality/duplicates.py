"""Whether one thing that happened stands in history twice, and how much the stream delivered more than once."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.rules import IDENTITY

REMEDY = (
    "Rebuild the day: `crm-platform rebuild --from DAY --to DAY`. If it stays, the table was written from elsewhere."
)


def duplicates(lake: Lake, contract: Contract, days: Sequence[date]) -> CheckResult:
    """Whether every version of an object is in its history once.

    Args:
        lake: Where to look.
        contract: The object's contract.
        days: The days looked at.

    Returns:
        A finding per day; `facts` counts the deliveries that landing holds more than once, which is no fault.
    """
    table = f"history/{contract.object}"
    schema = contract.history_schema
    versions = lake.scan(table, days=days, schema=schema).select("processed_date", *IDENTITY)
    landed = lake.scan(f"landing/changes/{contract.object}", days=days, schema=contract.change_schema)
    twice, totals, redelivered = pl.collect_all(
        [
            versions.group_by("processed_date", *IDENTITY).len().filter(pl.col("len") > 1),
            versions.group_by("processed_date").len(),
            landed.select(
                pl.struct(IDENTITY).is_duplicated().sum().alias("rows"), pl.struct(IDENTITY).n_unique().alias("all")
            ),
        ]
    )
    counted = dict(totals.iter_rows())
    findings = [
        _finding(day, twice.filter(pl.col("processed_date") == day), counted.get(day, 0)) for day in sorted(days)
    ]
    return CheckResult(
        "duplicates", table, findings, REMEDY, facts={"landed_more_than_once": redelivered.item(0, "rows")}
    )


def _finding(day: date, twice: pl.DataFrame, total: int) -> Finding:
    if twice.is_empty():
        return Finding(passed=True, what=f"{total} versions, each once.", day=day, total=total)
    failing = int(twice.get_column("len").sum())
    shown = twice.select(*IDENTITY, pl.col("len").alias("rows")).sort(IDENTITY).head(MOST_EXAMPLES)
    what = f"{twice.height} versions stand in history {failing} times."
    return Finding(passed=False, what=what, day=day, failing=failing, total=total, examples=shown)
