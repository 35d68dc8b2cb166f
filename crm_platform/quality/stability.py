"""How far the values of one frame have moved from those of another: the population stability index, nulls, new values.

Pure: frames in, numbers out. Which exports are compared, and from where on somebody should look, is decided in `values`.
"""

import math
from collections.abc import Mapping, Sequence

import polars as pl

from crm_platform.contracts import Contract

BINS = 10
"""Equal shares of the reference into which numbers are sorted: deciles."""

FLOOR = 1e-4
"""The share that an empty bin is given, so that its logarithm exists; what the index is usually computed with."""

MOST_VALUES = 50
"""Distinct values up to which undeclared text is taken for categories."""

LEAST_VALUES = 100
"""Values, nulls aside, below which a column's index is noise."""


def psi(reference: Sequence[float], found: Sequence[float]) -> float:
    """The population stability index of two distributions over the same bins: the sum of (f − r) · ln(f / r).

    Args:
        reference: Counts or shares per bin of what is usual.
        found: Counts or shares per bin of what was found, in the same order.
    """
    usual, now = sum(reference), sum(found)
    shares = [(max(r / usual, FLOOR), max(f / now, FLOOR)) for r, f in zip(reference, found, strict=True)]
    return sum((f - r) * math.log(f / r) for r, f in shares)


def psi_of_numbers(reference: pl.Series, found: pl.Series) -> float | None:
    """The index over the deciles of the reference, nulls aside; None where either holds no number."""
    usual, now = (values.drop_nulls().cast(pl.Float64) for values in (reference, found))
    if usual.is_empty() or now.is_empty():
        return None
    cuts = sorted({float(usual.quantile(number / BINS, "lower") or 0.0) for number in range(1, BINS)})
    bounds = pl.Series(cuts)
    first, second = (dict(bounds.search_sorted(v, side="left").value_counts().iter_rows()) for v in (usual, now))
    bins = range(len(cuts) + 1)
    return psi([first.get(number, 0) for number in bins], [second.get(number, 0) for number in bins])


def psi_of_categories(reference: pl.Series, found: pl.Series) -> float | None:
    """The index over the values that either holds, nulls aside; None where either holds none."""
    first, second = (dict(values.drop_nulls().value_counts().iter_rows()) for values in (reference, found))
    if not first or not second:
        return None
    bins = list(first | second)
    return psi([first.get(value, 0) for value in bins], [second.get(value, 0) for value in bins])


def measured_columns(contract: Contract) -> list[str]:
    """The columns whose distribution is looked at: numbers, booleans and text that is nobody's data and no key."""
    return [
        name
        for name, dtype in contract.schema.items()
        if contract.pii[name] == "none"
        and name != contract.key
        and (dtype.is_numeric() or dtype in (pl.Boolean(), pl.String()))
    ]


def indices(contract: Contract, reference: pl.DataFrame, found: pl.DataFrame) -> dict[str, float]:
    """The index of every column that has one; few values have none, nor has undeclared text of many."""
    told: dict[str, float] = {}
    for name in measured_columns(contract):
        usual, now = reference.get_column(name).drop_nulls(), found.get_column(name).drop_nulls()
        is_free = usual.dtype == pl.String() and name not in contract.categories
        if min(usual.len(), now.len()) < LEAST_VALUES or (is_free and usual.n_unique() > MOST_VALUES):
            continue
        index = psi_of_numbers(usual, now) if usual.dtype.is_numeric() else psi_of_categories(usual, now)
        if index is not None:
            told[name] = index
    return told


def new_values(contract: Contract, reference: pl.DataFrame, found: pl.DataFrame) -> dict[str, tuple[list[str], int]]:
    """By column of declared categories, the values that the reference does not hold, and in how many rows."""
    told: dict[str, tuple[list[str], int]] = {}
    for name in measured_columns(contract):
        if name in contract.categories:
            usual = reference.get_column(name).drop_nulls().unique()
            values = found.get_column(name).drop_nulls()
            new = values.filter(~values.is_in(usual.implode()))
            if not new.is_empty():
                told[name] = new.unique().sort().to_list(), new.len()
    return told


def null_rates(contract: Contract, frame: pl.DataFrame) -> Mapping[str, float]:
    """The share of nulls in every column of the contract that may be null."""
    rows = max(frame.height, 1)
    names = [name for name in contract.columns if contract.nullable(name) or contract.policies.admit_nulls]
    return {name: frame.get_column(name).null_count() / rows for name in names}
