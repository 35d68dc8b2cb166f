"""The check of how much the stream delivers: a day's changes, held against the same weekday of the weeks before.

It counts what landed, from the log alone, for every CRM whether it can be exported or not. It warns and never blocks: a
holiday looks like a feed that stands still.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.landing import closed_days, watermark
from crm_platform.quality.chance import is_over_times
from crm_platform.quality.pictures import lines_over_days
from crm_platform.quality.result import CheckResult, Finding

CHECK = "volume"
WEEK, WEEKS, LEAST_WEEKS = timedelta(days=7), 4, 2
"""How many weeks back the same weekday is looked at, and how many of them there must be."""
FACTOR = 2
"""How many times as many changes, or as few, are too many or too few, if chance does not do it."""
LEAST_CHANGES = 100
"""Where neither day has so many, nothing is judged: small numbers move by themselves, and one person's tidying is a burst."""
DRAWN = 35
"""Days in the picture."""

REMEDY = (
    "Ask the CRM's people what happened on DAY. Too few: see whether the feed stood still, and compare with the next export "
    "(`reconciliation` counts what the stream had lost). Too many: an import, or one delivery twice (`duplicates`). A holiday, "
    "or an import that was meant: nothing to do."
)


def volume(lake: Lake, contract: Contract, days: Sequence[date]) -> CheckResult:
    """Whether each day brought about as many changes as the same weekday of the weeks before.

    Args:
        lake: Where changes have landed.
        contract: The object's contract.
        days: The days looked at; one that is not over yet is not judged.
    """
    table = f"landing/changes/{contract.object}"
    counts = {day: rows for day, rows in lake.rows_by_day(table).items() if isinstance(day, date)}
    over = set(closed_days(days, watermark(lake)))
    findings = [_of_day(counts, day, is_over=day in over) for day in sorted(set(days))]
    facts: dict[str, object] = {}
    if counts and days:
        last = max(days)
        drawn = [last - timedelta(days=n) for n in reversed(range(DRAWN)) if last - timedelta(days=n) >= min(counts)]
        lines = {"changes": {day: float(counts.get(day, 0)) for day in drawn}}
        facts["picture"] = lines_over_days(f"{table}: changes a day", lines, {})
    return CheckResult(CHECK, table, findings, REMEDY, severity="warn", facts=facts)


def _of_day(counts: Mapping[date, int], day: date, *, is_over: bool) -> Finding:
    rows = counts.get(day, 0)
    first = min(counts, default=day)
    before = [day - WEEK * number for number in range(1, WEEKS + 1) if day - WEEK * number >= first]
    if not is_over or len(before) < LEAST_WEEKS:
        why = f"{len(before)} of {LEAST_WEEKS} such weekdays before it" if is_over else "the day is not over"
        told: dict[str, object] = {"warming_up": True} if is_over else {}
        return Finding(passed=True, what=f"{rows:,} changes, not judged yet: {why}.", day=day, total=rows, facts=told)
    nearest = min((counts.get(other, 0) for other in before), key=lambda usual: _times(usual, rows))
    most, least = max(rows, nearest), min(rows, nearest)
    if most < LEAST_CHANGES or not is_over_times(FACTOR, most, least):
        what = f"{rows:,} changes; {nearest:,} on the nearest of the last {len(before)} {day:%A}s."
        return Finding(passed=True, what=what, day=day, total=rows)
    word = f"over {FACTOR} times" if rows > nearest else f"under 1/{FACTOR} of"
    what = f"{rows:,} changes, {word} the {nearest:,} of the nearest of the last {len(before)} {day:%A}s."
    shown = pl.DataFrame({"day": [day, *before], "changes": [rows, *(counts.get(other, 0) for other in before)]})
    return Finding(passed=False, what=what, day=day, failing=most - least, total=most, examples=shown)


def _times(usual: int, found: int) -> float:
    """How many times the greater of two counts is the less."""
    return max(usual, found) / max(min(usual, found), 0.5)
