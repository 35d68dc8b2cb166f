"""What the values of a day are compared with: the exports before it, or days of history where a CRM has no exports.

A sample is one export, which shows all that lives; or the versions of as many days, going back, as make enough rows. How
far apart two samples are is measured in `measures`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.quality.stability import Profiles, profiles

TRAILING = 7
"""How many samples before a day are its reference: of daily ones each day of the week."""
LEAST_SAMPLES, LEAST_SPAN = 3, timedelta(days=7)
"""Below so many samples, or while the oldest is younger, nothing is judged: a week has its own ups and downs."""
SAMPLED = 50_000
"""Rows of a day from which on every n-th entity by hash stands for all."""


@dataclass(frozen=True)
class Unit:
    """What one sample is made of.

    Attributes:
        room: Whose partitions.
        day: The column that says a row's partition.
        words: What many samples are called.
        least: The rows below which one is too small.
    """

    room: str
    day: str
    words: str
    least: int


EXPORTS = Unit("landing/snapshot", "snapshot_date", "exports", 1)
HISTORY = Unit("history", "processed_date", "samples of 100 versions", 100)


@dataclass(frozen=True)
class Sample:
    """The values of some days, the newest of which names it; `rows` counts all of them, drawn or not."""

    days: tuple[date, ...]
    rows: int
    columns: Profiles

    @property
    def day(self) -> date:
        """The newest of its days."""
        return self.days[-1]


def days_of_samples(counts: Mapping[date, int], day: date, least: int) -> list[tuple[date, ...]]:
    """The days of the sample that ends on a day, and of up to seven before it, the newest first.

    Args:
        counts: Rows by day.
        day: The day looked at.
        least: The rows that a sample has at least; what is left over at the far end is no sample.
    """
    found: list[tuple[date, ...]] = []
    gathered: list[date] = []
    for other in sorted((other for other in counts if other <= day), reverse=True):
        gathered.insert(0, other)
        if sum(counts[one] for one in gathered) >= least:
            found.append(tuple(gathered))
            gathered = []
        if len(found) > TRAILING:
            break
    return found


def is_enough(before: Sequence[Sample], day: date) -> bool:
    """Whether the samples before a day can be a reference for it."""
    return len(before) >= LEAST_SAMPLES and before[-1].days[0] <= day - LEAST_SPAN


def samples(
    lake: Lake, contract: Contract, unit: Unit, counts: Mapping[date, int], days: Sequence[date]
) -> Iterator[tuple[date, list[Sample]]]:
    """For each day its own sample and those before it, newest first; none where the rows up to the day are too few.

    Every day is read once, and no more than a reference held at once.

    Args:
        lake: Where the rows are.
        contract: The object's contract.
        unit: What a sample is made of.
        counts: Rows by day.
        days: The days looked at, in order; each has rows.
    """
    read: dict[date, pl.DataFrame] = {}
    held: dict[tuple[date, ...], Sample] = {}
    for day in days:
        wanted = days_of_samples(counts, day, unit.least)
        needed = [one for group in wanted for one in group]
        missing = [one for one in needed if one not in read]
        read |= _read(lake, contract, unit, {one: counts[one] for one in missing})
        read = {one: read[one] for one in needed}
        held = {group: held[group] if group in held else _of(contract, group, counts, read) for group in wanted}
        yield day, list(held.values())


def _of(
    contract: Contract, days: tuple[date, ...], counts: Mapping[date, int], read: Mapping[date, pl.DataFrame]
) -> Sample:
    return sample_of(contract, days, sum(counts[one] for one in days), pl.concat([read[one] for one in days]))


def sample_of(contract: Contract, days: tuple[date, ...], rows: int, drawn: pl.DataFrame) -> Sample:
    """The sample of some days.

    Args:
        contract: The object's contract.
        days: Which days.
        rows: How many rows they have in all.
        drawn: Those of the rows that stand for all: an export's, or versions of history.
    """
    return Sample(days, rows, profiles(contract, {name: _written(drawn, name) for name in contract.columns}))


def _written(rows: pl.DataFrame, name: str) -> pl.Series:
    """The values of a column that rows say anything of: a version may write other fields alone, a tombstone writes none."""
    if "changed_fields" not in rows.columns:
        return rows.get_column(name)
    return rows.filter(pl.col("changed_fields").list.contains(name).fill_null(value=True)).get_column(name)


def _read(lake: Lake, contract: Contract, unit: Unit, counts: Mapping[date, int]) -> dict[date, pl.DataFrame]:
    """The rows of some days; where a day has many, the entities of every n-th hash."""
    if not counts:
        return {}
    every = -(-max(counts.values()) // SAMPLED)
    is_history = unit is HISTORY
    schema = contract.history_schema if is_history else contract.snapshot_schema
    scanned = lake.scan(f"{unit.room}/{contract.object}", days=list(counts), schema=schema)
    names = [unit.day, *contract.columns, *(["changed_fields"] if is_history else [])]
    rows = scanned.filter(pl.col("entity_id").hash(0) % every == 0).select(names).collect()
    nothing = dict.fromkeys(counts, rows.clear())
    return nothing | {day: part for (day,), part in rows.partition_by(unit.day, as_dict=True).items()}
