"""Whether rows keep their contract: what of a day went to quarantine, and whether what went on is as it must be."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

import polars as pl

from crm_platform.contracts import QUARANTINE, Contract
from crm_platform.lake import Lake
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.rules import history_rules, holds

QUARANTINE_REMEDY = (
    "Look at the rule and the payload in quarantine/OBJECT. If the contract is wrong, change it and say "
    "`crm-platform quarantine release OBJECT`; if the CRM is, mend it there: the next snapshot repairs history, and "
    "`crm-platform quarantine discard OBJECT` gives up the rows that no contract can take."
)
HISTORY_REMEDY = (
    "Rebuild the day: `crm-platform rebuild --from DAY --to DAY`. If it stays, the contract has changed since."
)


def quarantined(lake: Lake, contract: Contract, days: Sequence[date], *, tolerated: float = 0.0) -> CheckResult:
    """Which rows of which day broke their contract and wait in quarantine; the good ones of the day have gone on.

    Args:
        lake: Where to look.
        contract: The object's contract.
        days: The days looked at.
        tolerated: The share of a day's rows that may be in quarantine without a failure.
    """
    name = contract.object
    waiting = (
        lake.scan(f"quarantine/{name}", days=days, schema=QUARANTINE).filter(pl.col("resolved_by").is_null()).collect()
    )
    landed = lake.scan(f"landing/changes/{name}", days=days, schema=contract.change_schema)
    counted = dict(landed.group_by("processed_date").len().collect().iter_rows())
    findings: list[Finding] = []
    for day in sorted(days):
        mine = waiting.filter(pl.col("processed_date") == day)
        total = counted.get(day, 0) + mine.height
        findings.append(
            Finding(
                passed=mine.height <= tolerated * total,
                what=_told(mine),
                day=day,
                failing=mine.height,
                total=total,
                examples=None if mine.is_empty() else _shown(mine),
            )
        )
    return CheckResult("quarantine", f"landing/changes/{name}", findings, QUARANTINE_REMEDY, severity="warn")


def versions_keep_contract(lake: Lake, contract: Contract, days: Sequence[date]) -> CheckResult:
    """Whether every version keeps the contract and the rules of operations and times.

    Args:
        lake: Where to look.
        contract: The object's contract.
        days: The days looked at.
    """
    table = f"history/{contract.object}"
    return holds(
        history_rules(contract),
        lake.scan(table, days=days, schema=contract.history_schema).collect(),
        check="contract",
        table=table,
        remedy=HISTORY_REMEDY,
        days=days,
        day_column="processed_date",
        shown=("entity_id", "source_position"),
    )


def living_keep_contract(lake: Lake, contract: Contract, severity: Literal["warn", "error"] = "warn") -> CheckResult:
    """Whether every living entity, as the registers show it, keeps the contract: no partial update left a hole."""
    table = f"current/{contract.object}"
    result = holds(
        contract.rules("current"),
        lake.scan(table, schema=contract.current_schema).collect(),
        check="living_rows",
        table=table,
        remedy="Its versions tell which change left the field empty; the next snapshot repairs it.",
        shown=(contract.key,),
    )
    return CheckResult(result.check, result.table, result.findings, result.remedy, severity)


def _told(waiting: pl.DataFrame) -> str:
    if waiting.is_empty():
        return "Every row keeps its contract."
    rules = waiting.get_column("rule").value_counts(sort=True)
    rule, rows = rules.row(0)
    more = f", and {rules.height - 1} more rules" if rules.height > 1 else ""
    return f"Rows wait in quarantine: {rows} broke “{rule}”{more}."


def _shown(waiting: pl.DataFrame) -> pl.DataFrame:
    return waiting.select("entity_id", "column", "rule", "source_position").sort(pl.all()).head(MOST_EXAMPLES)
