"""The check of what exports hold, or versions where a CRM has no exports: held against those just before.

A trailing reference moves with the business, so a slow change is none and a sudden one is seen on its day. It warns and
never blocks: whether a change is a fault or a new market is for people to say. What is compared with what is decided in
`samples`, what is too far in `measures`, and drawn in `pictures`.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.landing import closed_days, watermark
from crm_platform.quality.measures import Measure, lateness_measure, measures
from crm_platform.quality.pictures import lines_over_days
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding, Markdown
from crm_platform.quality.samples import (
    EXPORTS,
    HISTORY,
    LEAST_SAMPLES,
    LEAST_SPAN,
    TRAILING,
    Sample,
    Unit,
    days_of_samples,
    is_enough,
    samples,
)

CHECK = "value_drift"
MOST_LINES, TOP_OF_SCALE = 8, 2.0
"""How many measures are drawn, and up to how many times their limit."""

REMEDY = (
    "Ask the CRM's people what changed on DAY. A fault: have it mended there, the next export is held against the same "
    "reference. A change of business: nothing to do, the days after it are held against it as well."
)


def value_drift(
    lake: Lake,
    contract: Contract,
    days: Sequence[date],
    *,
    has_exports: bool = True,
    references: Collection[str] = (),
) -> CheckResult:
    """How the values of each day differ from those of the seven samples before it.

    Args:
        lake: Where exports have landed, and history stands.
        contract: The object's contract.
        days: The days looked at; one without rows gives no finding, nor one of history that is not over yet.
        has_exports: Whether the CRM is exported; the versions of its days are compared where it is not.
        references: Columns that hold ids of others, which have no distribution to speak of.
    """

    def measured(found: Sample, before: Sequence[Sample]) -> list[Measure]:
        return measures(contract, before, found, of_rows=unit is EXPORTS, references=references)

    unit = EXPORTS if has_exports else HISTORY
    table = f"{unit.room}/{contract.object}"
    counts = {day: rows for day, rows in lake.rows_by_day(table).items() if isinstance(day, date)}
    over = days if unit is EXPORTS else closed_days(days, watermark(lake))
    wanted = sorted(set(over).intersection(counts))
    reach = days_of_samples(counts, wanted[0], unit.least) if wanted else []
    late = _lateness(lake, contract, [day for day in counts if reach and reach[-1][0] <= day <= wanted[-1]])
    findings: list[Finding] = []
    over_days: dict[date, list[Measure]] = {}
    for day, drawn in samples(lake, contract, unit, counts, wanted):
        found, before = drawn[:1], drawn[1:]
        if not found or not is_enough(before, day):
            findings.append(_warming_up(unit, day, counts[day], before))
            continue
        for number, earlier in enumerate(before[:-1]):
            if earlier.day not in over_days:
                over_days[earlier.day] = measured(earlier, before[number + 1 :])
        days_before = [one for sample in before for one in sample.days]
        over_days[day] = [*measured(found[0], before), *lateness_measure(late, day, days_before)]
        picture = _picture(contract, over_days, [*(sample.day for sample in reversed(before)), day])
        findings.append(_finding(day, over_days[day], counts[day], picture, found[0]))
    facts: dict[str, object] = {"picture": _picture(contract, over_days, sorted(over_days))} if over_days else {}
    return CheckResult(CHECK, table, findings, REMEDY, severity="warn", facts=facts)


def _warming_up(unit: Unit, day: date, rows: int, before: Sequence[Sample]) -> Finding:
    """A day for which there is no reference yet: told, so that nobody takes it for one that was judged."""
    since = before[-1].days[0] if before else None
    back = f"back to {since}" if since else "none before it"
    what = (
        f"Warming up, nothing is judged yet: {len(before)} {unit.words} before this day ({back}); "
        f"at least {LEAST_SAMPLES} that reach back {LEAST_SPAN.days} days are needed."
    )
    facts: dict[str, object] = {"warming_up": True, "samples_before": len(before)}
    return Finding(passed=True, what=what, day=day, total=rows, facts=facts)


def _lateness(lake: Lake, contract: Contract, days: Sequence[date]) -> dict[date, pl.Series]:
    """By day, how many microseconds after it happened each of the stream's changes was recorded."""
    behind = (pl.col("processed_time") - pl.col("event_time")).dt.total_microseconds()
    scanned = lake.scan(f"landing/changes/{contract.object}", days=days, schema=contract.change_schema)
    rows = scanned.select("processed_date", behind.alias("behind")).collect()
    return {
        day: part.get_column("behind") for (day,), part in rows.partition_by("processed_date", as_dict=True).items()
    }


def _finding(day: date, measured: Sequence[Measure], rows: int, picture: Markdown, found: Sample) -> Finding:
    over = sorted((m for m in measured if m.is_over), key=lambda m: m.share_of_limit, reverse=True)
    facts: dict[str, object] = {"picture": picture, "measured": len(measured)}
    if len(found.days) > 1:
        facts["compared"] = f"{found.rows:,} rows since {found.days[0]}: this day alone has too few"
    if not over:
        what = f"None of {len(measured)} measures is over its limit."
        return Finding(passed=True, what=what, day=day, total=rows, facts=facts)
    shown = pl.DataFrame(
        [(m.name, round(m.value, 4), round(m.limit, 4), m.told) for m in over[:MOST_EXAMPLES]],
        schema={"measure": pl.String, "value": pl.Float64, "limit": pl.Float64, "detail": pl.String},
        orient="row",
    )
    first = over[0]
    said = f" ({first.told})" if first.told else ""
    more = f", and {len(over) - 1} more measures" if len(over) > 1 else ""
    what = f"{first.name} is {first.value:.3g}, and {first.limit:.3g} is allowed{said}{more}."
    failing = min(max(rows if m.rows is None else m.rows for m in over), rows)
    return Finding(passed=False, what=what, day=day, failing=failing, total=rows, examples=shown, facts=facts)


def _picture(contract: Contract, over_days: Mapping[date, Sequence[Measure]], days: Sequence[date]) -> Markdown:
    """The measures that moved most, over the days, each in parts of its limit; names of columns and numbers, no values."""
    series: dict[str, dict[date, float]] = {}
    for day in days:
        for measure in over_days.get(day, ()):
            series.setdefault(measure.name, {})[day] = round(measure.share_of_limit, 3)
    moved = sorted(series, key=lambda name: max(series[name].values()), reverse=True)[:MOST_LINES]
    title = (
        f"{contract.object}: distance from the nearest of the {TRAILING} samples before; 1, dashed, is what is allowed"
    )
    return lines_over_days(title, {name: series[name] for name in moved}, dict.fromkeys(moved, 1.0), TOP_OF_SCALE)
