"""Whether anything is missing between what landed: stretches of the feed that do not tile, days that history skipped."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.landing import batches, covered_days, gaps_in, watermark
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding

OFFSETS_REMEDY = (
    "The feed no longer holds the stretch, or a batch was lost: `crm-platform feed skip` goes on behind what the feed has lost; "
    "then export every object once more (materialize landing/snapshot/* for today), which repairs history."
)
OPEN_REMEDY = "A run was cut off in the middle of a batch: materialize landing/changes again, which repeats it."
DAYS_REMEDY = "Build what is missing: `crm-platform rebuild --from DAY`. An earlier red day holds it back, rightly."


def offset_gaps(lake: Lake, start: str | None = None) -> CheckResult:
    """Whether the batches of the feed tile: each begins where the one before ended, and none is left open.

    Args:
        lake: Where the feed has landed.
        start: The offset after which the first batch must begin; None where the feed begins.
    """
    landed = batches(lake)
    gaps = gaps_in(landed, start if start is not None or not landed else landed[0].from_offset)
    open_batches = [batch.batch_id for batch in landed if not batch.is_done]
    findings = [Finding(passed=True, what=f"{len(landed)} batches tile.", total=len(landed))]
    if gaps:
        first = gaps[0]
        word = "begins before" if first.overlaps else "does not begin at"
        shown = pl.DataFrame(
            [(gap.batch_id, gap.expected, gap.found, gap.overlaps) for gap in gaps[:MOST_EXAMPLES]],
            schema={"batch_id": pl.String, "expected": pl.String, "found": pl.String, "overlaps": pl.Boolean},
            orient="row",
        )
        what = (
            f"Batch {first.batch_id} {word} offset {first.expected}, where the one before ended, but at {first.found}."
        )
        findings = [Finding(passed=False, what=what, failing=len(gaps), total=len(landed), examples=shown)]
    elif open_batches:
        what = f"Batch {open_batches[0]} is open: its bounds are fixed and not all of its rows have landed."
        shown = pl.DataFrame({"batch_id": open_batches[:MOST_EXAMPLES]})
        findings = [Finding(passed=False, what=what, failing=len(open_batches), total=len(landed), examples=shown)]
    remedy = OFFSETS_REMEDY if gaps else OPEN_REMEDY
    return CheckResult("offset_gaps", "landing/ranges", findings, remedy)


def missing_days(lake: Lake, contract: Contract, days: Sequence[date]) -> CheckResult:
    """Whether every covered day with landed changes has versions; a quiet day needs none.

    Args:
        lake: Where to look.
        contract: The object's contract.
        days: The days looked at.
    """
    table = f"history/{contract.object}"
    covered = covered_days(days, watermark(lake))
    built = set(lake.days(table))
    refused = _days_of_nothing_but_refused(lake, contract)
    landed = lake.rows_by_day(f"landing/changes/{contract.object}")
    findings = [_of_day(day, 0 if day in refused else landed.get(day, 0), is_built=day in built) for day in covered]
    return CheckResult("missing_days", table, findings, DAYS_REMEDY)


def _of_day(day: date, landed: int, *, is_built: bool) -> Finding:
    if is_built or not landed:
        what = "History holds the day." if is_built else "No changes landed."
        return Finding(passed=True, what=what, day=day, total=landed)
    what = f"{landed} changes of this day have landed, and history holds none of it."
    shown = pl.DataFrame({"day": [day], "landed": [landed]})
    return Finding(passed=False, what=what, day=day, failing=landed, total=landed, examples=shown)


def _days_of_nothing_but_refused(lake: Lake, contract: Contract) -> set[date]:
    """Days whose changes all contradict each other: landed, and rightly without versions."""
    name = contract.object
    suspects = set(lake.days(f"landing/changes/{name}")) - set(lake.days(f"history/{name}"))
    if not suspects or not lake.exists(f"quarantine/{name}"):
        return set()
    identity = ["entity_id", "event_time", "processed_time", "source_position"]
    days = sorted(day for day in suspects if isinstance(day, date))
    landed = lake.scan(f"landing/changes/{name}", days=days)
    sound = landed.join(lake.scan(f"quarantine/{name}", days=days), on=identity, how="anti")
    left = sound.select(pl.col("processed_date").unique()).collect().get_column("processed_date")
    return set(days) - set(left)
