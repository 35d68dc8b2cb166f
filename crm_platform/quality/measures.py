"""What is measured of a sample of values, and from where on each number is alarming: limits, and what chance may do.

A sample is held against each of those before it, and counts as moved where it is unlike all of them: a trend is near the
newest, a Sunday near the last one, a fault that was mended near what was before it. Pure: samples in, measures out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.quality.chance import counts_apart, shares_apart
from crm_platform.quality.samples import LEAST_SAMPLES, Sample
from crm_platform.quality.stability import indices, may_be_null, new_values

SMALL_SHIFT, PSI_LIMIT = 0.1, 0.25
"""The usual borders of a small shift and of a significant one."""
NULLS_LIMIT = 0.1
"""By how much of all rows the nulls of a column may become more or fewer."""
NEW_LIMIT = 0.01
"""Which share of the rows may have values never seen before: what comes with time comes slowly."""
ROWS_LIMIT = 0.5
"""By which share the number of rows may differ."""
LATE_FACTOR, LATE_LEAST = 3, timedelta(hours=1)
"""How many times the reference's p99 of lateness is too late, and by how much at least."""
LATE_LIMIT = 0.05
"""Which share of a day's changes may be too late."""


@dataclass(frozen=True)
class Measure:
    """One number of one sample, and from where on it is alarming."""

    name: str
    value: float
    limit: float
    told: str = ""
    rows: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether somebody should look."""
        return self.value > self.limit

    @property
    def share_of_limit(self) -> float:
        """How far it has come towards its limit; over 1 it is over it."""
        return self.value / max(self.limit, 1e-9)


def measures(
    contract: Contract,
    before: Sequence[Sample],
    found: Sample,
    *,
    of_rows: bool,
    references: Collection[str] = (),
) -> list[Measure]:
    """Everything that is measured of a sample's values, each against the one before that it is most like.

    What fewer than three of them can be compared by is left out.

    Args:
        contract: The object's contract.
        before: The samples before, newest first.
        found: The sample looked at.
        of_rows: Whether its number of rows is told, too: that of an export is, that of some days is no news.
        references: Columns that hold ids of others: a seller who leaves hands over everything at once, and no value is
            another for it. Their nulls are compared all the same.
    """
    pairs = [_of_pair(contract, usual, found, of_rows=of_rows, references=references) for usual in before]
    names = dict.fromkeys(name for pair in pairs for name in pair)
    least = min(LEAST_SAMPLES, len(before))
    by_name = {name: [pair[name] for pair in pairs if name in pair] for name in names}
    nearest = [min(told, key=lambda one: one.share_of_limit) for told in by_name.values() if len(told) >= least]
    return [*nearest, *_new(contract, before, found)]


def _of_pair(
    contract: Contract, usual: Sample, found: Sample, *, of_rows: bool, references: Collection[str]
) -> dict[str, Measure]:
    told = [
        Measure(f"psi {name}", index.value, max(PSI_LIMIT, index.by_chance))
        for name, index in indices(usual.columns, found.columns).items()
        if name not in references
    ]
    for name in may_be_null(contract):
        before, now = usual.columns[name], found.columns[name]
        if before.rows and now.rows:
            first, second = before.nulls / before.rows, now.nulls / now.rows
            limit = max(NULLS_LIMIT, shares_apart((before.nulls, before.rows), (now.nulls, now.rows)))
            told.append(Measure(f"nulls {name}", abs(second - first), limit, f"{first:.1%} before, {second:.1%} now"))
    if of_rows:
        change = abs(found.rows - usual.rows) / usual.rows
        limit = max(ROWS_LIMIT, counts_apart(usual.rows, found.rows))
        told.append(Measure("rows", change, limit, f"{usual.rows:,} rows before, {found.rows:,} now"))
    return {measure.name: measure for measure in told}


def _new(contract: Contract, before: Sequence[Sample], found: Sample) -> list[Measure]:
    """Declared values that none of the samples before holds: how many rows of all have one."""
    told: list[Measure] = []
    for name, (values, count) in new_values(contract, [one.columns for one in before], found.columns).items():
        rows, most = found.columns[name].rows, max(one.columns[name].rows for one in before)
        limit = max(NEW_LIMIT, shares_apart((0, most), (count, rows)))
        told.append(Measure(f"new values {name}", count / rows, limit, ", ".join(values[:5]), count))
    return told


def lateness_measure(late: Mapping[date, pl.Series], day: date, before: Sequence[date]) -> list[Measure]:
    """How many of a day's changes were recorded later than nearly any of the days before.

    Args:
        late: By day, how many microseconds after it happened each change was recorded.
        day: The day looked at.
        before: The days of the reference.
    """
    usual = [late[other] for other in before if other in late]
    if day not in late or not usual:
        return []
    reference, found = pl.concat(usual), late[day]
    most, now = _p99(reference), _p99(found)
    bound = max(most * LATE_FACTOR, most + LATE_LEAST)
    first, second = (_later(values, bound) for values in (reference, found))
    limit = max(LATE_LIMIT, shares_apart(first, second))
    told = f"{second[0]:,} of {second[1]:,} changes over {bound} late; p99 {most} before, {now} now"
    return [Measure("late changes", second[0] / second[1], limit, told, second[0])]


def _later(late: pl.Series, bound: timedelta) -> tuple[int, int]:
    """How many changes are later than a bound, and how many there are."""
    return int((late > bound // timedelta(microseconds=1)).sum()), late.len()


def _p99(late: pl.Series) -> timedelta:
    return timedelta(microseconds=int(late.quantile(0.99, "nearest") or 0))
