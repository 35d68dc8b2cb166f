"""The check of what exports hold: values, nulls, new values, volume and lateness, held against the exports just before.

A trailing reference moves with the business, so a slow change is none and a sudden one is seen on its day. It warns and
never blocks: whether a change is a fault or a new market is for people to say. How far values have moved is computed in
`stability`, drawn in `pictures`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.quality.pictures import lines_over_days
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding, Markdown
from crm_platform.quality.stability import indices, new_values, null_rates

CHECK = "value_drift"
TRAILING = 7
"""How many exports before a day are its reference."""
LEAST_EXPORTS, LEAST_ROWS = 3, 200
"""Below these a reference or an export says nothing: small numbers move by themselves."""
PSI_LIMIT = 0.25
"""The usual border of a significant shift; 0.1 is that of a small one."""
NULLS_LIMIT = 0.1
"""By how much of all rows the nulls of a column may become more or fewer."""
VOLUME_LIMIT = 0.5
"""By which share the number of rows may differ from that of the export just before."""
LATE_FACTOR, LATE_LEAST = 3, timedelta(hours=1)
"""How many times the reference's p99 of lateness is too late, and by how much at least."""
SAMPLED = 200_000
"""Rows of an export from which on every n-th entity by hash stands for all."""
MOST_LINES = 8

REMEDY = (
    "Ask the CRM's people what changed on DAY. A fault: have it mended there, the next export is held against the same "
    "reference. A change of business: nothing to do, it is the reference within a week."
)


@dataclass(frozen=True)
class Measure:
    """One number of one export, and from where on it is alarming."""

    name: str
    value: float
    limit: float
    told: str = ""
    rows: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether somebody should look."""
        return self.value > self.limit


def value_drift(lake: Lake, contract: Contract, days: Sequence[date]) -> CheckResult:
    """How the values of each export differ from those of the seven before it.

    Args:
        lake: Where exports have landed.
        contract: The object's contract.
        days: The days looked at; one without an export gives no finding.
    """
    table = f"landing/snapshot/{contract.object}"
    counts = {day: rows for day, rows in lake.rows_by_day(table).items() if isinstance(day, date)}
    landed = sorted(counts)
    wanted = sorted(set(days).intersection(landed))
    since = max(landed.index(wanted[0]) - TRAILING, 0) if wanted else 0
    late = _lateness(lake, contract, landed[since : landed.index(wanted[-1]) + 1]) if wanted else {}
    findings: list[Finding] = []
    over_days: dict[date, list[Measure]] = {}
    for day, found, before in _exports(lake, contract, counts, wanted):
        reference = pl.concat(before.values()) if before else found.clear()
        if len(before) < LEAST_EXPORTS or min(reference.height, found.height) < LEAST_ROWS:
            what = f"Too little to compare: {found.height} rows, {reference.height} in {len(before)} exports before."
            findings.append(Finding(passed=True, what=what, day=day, total=counts[day]))
            continue
        for earlier, rows in before.items():
            if earlier not in over_days:
                over_days[earlier] = measures(contract, reference, rows) + _volume(counts, earlier)
        measured = measures(contract, reference, found) + _volume(counts, day) + _late(late, day, list(before))
        over_days[day] = measured
        findings.append(_finding(day, measured, counts[day], _picture(contract, over_days, [*before, day])))
    facts: dict[str, object] = {"picture": _picture(contract, over_days, sorted(over_days))} if over_days else {}
    return CheckResult(CHECK, table, findings, REMEDY, severity="warn", facts=facts)


def measures(contract: Contract, reference: pl.DataFrame, found: pl.DataFrame) -> list[Measure]:
    """Everything that is measured of an export's values.

    Args:
        contract: The object's contract.
        reference: Rows of the exports before, or a sample of them.
        found: The export's rows, or a sample of them.
    """
    told = [Measure(f"psi {name}", index, PSI_LIMIT) for name, index in indices(contract, reference, found).items()]
    before, now = null_rates(contract, reference), null_rates(contract, found)
    told += [
        Measure(f"nulls {n}", abs(now[n] - before[n]), NULLS_LIMIT, f"{before[n]:.1%} before, {now[n]:.1%} now")
        for n in now
    ]
    told += [
        Measure(f"new values {name}", len(values), 0, ", ".join(values[:5]), count)
        for name, (values, count) in new_values(contract, reference, found).items()
    ]
    return told


def _volume(counts: Mapping[date, int], day: date) -> list[Measure]:
    """By which share the rows became more or fewer since the export just before: a young CRM grows, but not by leaps."""
    last = max((other for other in counts if other < day), default=None)
    if last is None:
        return []
    change = abs(counts[day] - counts[last]) / counts[last]
    return [Measure("volume", change, VOLUME_LIMIT, f"{counts[last]:,} rows before, {counts[day]:,} now")]


def _exports(
    lake: Lake, contract: Contract, counts: Mapping[date, int], days: Sequence[date]
) -> Iterator[tuple[date, pl.DataFrame, dict[date, pl.DataFrame]]]:
    """Each day's export with those before it; every export is read once, and no more than a reference held at once."""
    landed = sorted(counts)
    held: dict[date, pl.DataFrame] = {}
    for day in days:
        at = landed.index(day)
        wanted = landed[max(at - TRAILING, 0) : at + 1]
        held = {
            other: held[other] if other in held else _read(lake, contract, other, counts[other]) for other in wanted
        }
        yield day, held[day], {other: rows for other, rows in held.items() if other != day}


def _read(lake: Lake, contract: Contract, day: date, rows: int) -> pl.DataFrame:
    """An export's own columns; of a big one the entities of every n-th hash."""
    every = -(-rows // SAMPLED)
    scanned = lake.scan(f"landing/snapshot/{contract.object}", days=[day], schema=contract.snapshot_schema)
    return scanned.filter(pl.col("entity_id").hash(0) % every == 0).select(contract.columns).collect()


def _lateness(lake: Lake, contract: Contract, days: Sequence[date]) -> dict[date, timedelta]:
    """By day, how late the slowest hundredth of the stream's changes was recorded."""
    behind = (pl.col("processed_time") - pl.col("event_time")).quantile(0.99, "nearest")
    scanned = lake.scan(f"landing/changes/{contract.object}", days=days, schema=contract.change_schema)
    return dict(scanned.group_by("processed_date").agg(behind).collect().iter_rows())


def _late(late: Mapping[date, timedelta], day: date, before: Sequence[date]) -> list[Measure]:
    usual = sorted(late[other] for other in before if other in late)
    if day not in late or not usual:
        return []
    most = usual[len(usual) // 2]
    limit = max(most * LATE_FACTOR, most + LATE_LEAST)
    told = f"p99 {most} before, {late[day]} now"
    return [Measure("lateness in hours", late[day] / timedelta(hours=1), limit / timedelta(hours=1), told)]


def _finding(day: date, measured: Sequence[Measure], rows: int, picture: Markdown) -> Finding:
    over = sorted((m for m in measured if m.is_over), key=lambda m: m.value / max(m.limit, 1e-9), reverse=True)
    facts: dict[str, object] = {"picture": picture, "measured": len(measured)}
    if not over:
        what = f"None of {len(measured)} measures is over its limit."
        return Finding(passed=True, what=what, day=day, total=rows, facts=facts)
    shown = pl.DataFrame(
        [(m.name, round(m.value, 4), m.limit, m.told) for m in over[:MOST_EXAMPLES]],
        schema={"measure": pl.String, "value": pl.Float64, "limit": pl.Float64, "detail": pl.String},
        orient="row",
    )
    first = over[0]
    said = f" ({first.told})" if first.told else ""
    more = f", and {len(over) - 1} more measures" if len(over) > 1 else ""
    what = f"{first.name} is {first.value:.3g}, and {first.limit:.3g} is allowed{said}{more}."
    failing = max(rows if m.rows is None else m.rows for m in over)
    return Finding(passed=False, what=what, day=day, failing=failing, total=rows, examples=shown, facts=facts)


def _picture(contract: Contract, over_days: Mapping[date, Sequence[Measure]], days: Sequence[date]) -> Markdown:
    """The measures that moved most, over the days; names of columns and numbers, no values."""
    series: dict[str, dict[date, float]] = {}
    limits: dict[str, float] = {}
    for day in days:
        for measure in over_days.get(day, ()):
            series.setdefault(measure.name, {})[day] = measure.value
            limits[measure.name] = measure.limit
    moved = sorted(series, key=lambda n: max(series[n].values()) / max(limits[n], 1e-9), reverse=True)[:MOST_LINES]
    title = f"{contract.object}: how far values are from those of the {TRAILING} exports before"
    return lines_over_days(title, {name: series[name] for name in moved}, limits)
