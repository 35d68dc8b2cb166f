"""How far the values of one sample have moved from those of another: the population stability index, nulls, new values.

Pure: columns in, numbers out. Of each column a profile is made once, whatever it is then compared with. Which samples are
compared, and from where on somebody should look, is decided in `measures`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.quality.chance import index_of

BINS = 10
"""Equal shares of the reference into which numbers are sorted: deciles."""

EMPTY = 0.5
"""The rows that an empty bin is taken to have, so that its logarithm exists: nothing in a hundred rows proves little."""

MOST_VALUES, LEAST_EACH = 50, 5
"""Distinct values up to which undeclared text is taken for categories, and how many rows each has on average at least."""

LEAST_VALUES = 50
"""Values, nulls aside, below which no index is computed: an empty bin would be half of it."""


@dataclass(frozen=True)
class Profile:
    """What is known of a column of a sample.

    Attributes:
        rows: How many rows say something of the column.
        nulls: In how many of them it is empty.
        numbers: The values of a column of numbers, sorted.
        categories: How many rows have each value of a column of categories.
    """

    rows: int
    nulls: int
    numbers: pl.Series | None = None
    categories: Mapping[Any, int] | None = None

    @property
    def values(self) -> int:
        """Rows with a value."""
        return self.rows - self.nulls


Profiles = Mapping[str, Profile]
"""A sample's columns by name."""


@dataclass(frozen=True)
class Index:
    """How far a column has moved, and how far two samples of that size move by chance."""

    value: float
    by_chance: float


def profile(column: pl.Series, *, declared: bool = False) -> Profile:
    """A column's profile; undeclared text of many values, moments and lists are counted and no more.

    Args:
        column: The values, nulls included.
        declared: Whether text is one of declared categories, however many there are.
    """
    rows, nulls = column.len(), column.null_count()
    if column.dtype.is_numeric():
        return Profile(rows, nulls, numbers=column.drop_nulls().cast(pl.Float64).sort())
    few = min(MOST_VALUES, (rows - nulls) // LEAST_EACH)
    is_text = column.dtype == pl.String()
    if column.dtype == pl.Boolean() or (is_text and (declared or column.drop_nulls().n_unique() <= few)):
        return Profile(rows, nulls, categories=dict(column.drop_nulls().value_counts().iter_rows()))
    return Profile(rows, nulls)


def profiles(contract: Contract, columns: Mapping[str, pl.Series]) -> Profiles:
    """The profiles of an object's own columns; nothing but nulls is counted of personal data and of the key.

    Args:
        contract: The object's contract.
        columns: The values of each of its columns; they need not be equally long.
    """
    measured = {name for name in columns if contract.pii[name] == "none" and name != contract.key}
    return {
        name: profile(column, declared=name in contract.categories)
        if name in measured
        else Profile(column.len(), column.null_count())
        for name, column in columns.items()
    }


def psi(reference: Sequence[int], found: Sequence[int]) -> float:
    """The population stability index of two distributions over the same bins: the sum of (f − r) · ln(f / r).

    Args:
        reference: Counts per bin of what is usual.
        found: Counts per bin of what was found, in the same order.
    """
    usual, now = sum(reference), sum(found)
    pairs = [(r, f) for r, f in zip(reference, found, strict=True) if r or f]
    shares = [(max(r, EMPTY) / usual, max(f, EMPTY) / now) for r, f in pairs]
    return sum((f - r) * math.log(f / r) for r, f in shares)


def index(reference: Profile, found: Profile) -> Index | None:
    """How far a column has moved: over the deciles of the reference, or over the values that either holds.

    Nulls are left aside. None for columns that are neither numbers nor categories, and for few values.
    """
    if min(reference.values, found.values) < LEAST_VALUES:
        return None
    if reference.numbers is not None and found.numbers is not None:
        counts = _over_deciles(reference.numbers, found.numbers)
    elif reference.categories is not None and found.categories is not None:
        bins = list(dict(reference.categories) | dict(found.categories))
        first, second = ([held.get(value, 0) for value in bins] for held in (reference.categories, found.categories))
        counts = first, second
    else:
        return None
    filled = sum(1 for pair in zip(*counts, strict=True) if any(pair))
    return Index(psi(*counts), index_of(filled, reference.values, found.values))


def _over_deciles(reference: pl.Series, found: pl.Series) -> tuple[list[int], list[int]]:
    """Counts of two sorted columns between the deciles of the first."""
    last = reference.len() - 1
    cuts = reference.gather([last * number // BINS for number in range(1, BINS)]).unique().sort()
    first, second = (
        [0, *values.search_sorted(cuts, side="right").to_list(), values.len()] for values in (reference, found)
    )
    return _steps(first), _steps(second)


def _steps(reached: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(reached)]


def indices(reference: Profiles, found: Profiles) -> dict[str, Index]:
    """The index of every column that has one."""
    told = {name: index(reference[name], found[name]) for name in found}
    return {name: moved for name, moved in told.items() if moved is not None}


def new_values(contract: Contract, before: Iterable[Profiles], found: Profiles) -> dict[str, tuple[list[str], int]]:
    """By column of declared categories, the values that no sample before holds, and in how many rows."""
    usual = list(before)
    told: dict[str, tuple[list[str], int]] = {}
    for name in contract.categories:
        known = {value for profiles in usual for value in profiles[name].categories or ()}
        new = {value: rows for value, rows in (found[name].categories or {}).items() if value not in known}
        if new:
            told[name] = sorted(new), sum(new.values())
    return told


def may_be_null(contract: Contract) -> list[str]:
    """The columns whose nulls are compared: those that the contract lets be empty."""
    return [name for name in contract.columns if contract.nullable(name) or contract.policies.admit_nulls]
