"""How an incoming export differs from its contract: columns added, removed, retyped, renamed; nulls and values that are new.

Pure: what was delivered and the contract come in, differences go out, each with the policy that the contract has for it.
Landing does what the policy says; `drift` looks at what has landed since, `renames` at which column became which.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from crm_platform.contracts import Contract, Policy
from crm_platform.quality.fitting import misfit
from crm_platform.quality.renames import Before, nothing_before, other_name

Kind = Literal["added", "removed", "renamed", "retyped", "as_text", "emptied", "nullability", "new_category"]

CHANGES: Mapping[Kind, str] = {
    "added": "added",
    "removed": "removed",
    "renamed": "renamed",
    "retyped": "retyped",
    "as_text": "as_text",
    "emptied": "removed",
    "nullability": "nulls",
    "new_category": "categories",
}
"""Which of a contract's policies decides about which kind of difference."""

BY_VALUE: frozenset[Kind] = frozenset({"retyped", "nullability", "new_category"})
"""Differences that the rules of the contract see row by row: what waits is decided there."""


@dataclass(frozen=True)
class Drift:
    """One difference.

    Attributes:
        column: The contract's column, or the delivered one where the contract has none.
        kind: What differs.
        expected: What the contract says.
        found: What was delivered.
        rows: How many rows show it; None for a difference of the schema.
        policy: What the contract does about it.
        other: The delivered column that this one seems to have become.
    """

    column: str
    kind: Kind
    expected: str
    found: str
    rows: int | None = None
    policy: Policy = "freeze"
    other: str | None = None

    @property
    def is_compatible(self) -> bool:
        """Whether rows may land in spite of it."""
        return self.policy != "freeze"

    @property
    def read_from(self) -> str | None:
        """The delivered column that is read as this one: a suggested rename is followed unless it stops the day."""
        return self.other if self.is_compatible else None

    @property
    def waits_by(self) -> str | None:
        """The rule by which rows that show it wait in quarantine; None where they land, or their values decide."""
        return self.kind if self.policy == "quarantine" and self.kind not in BY_VALUE else None

    def __str__(self) -> str:
        """Names the column, what was expected and what was found."""
        shown = "" if self.rows is None else f" ({self.rows} rows)"
        return f"{self.column} {self.kind.replace('_', ' ')}: expected {self.expected}, found {self.found}{shown}"


def drift_of(contract: Contract, before: Before = nothing_before) -> Callable[[pl.DataFrame], list[Drift]]:
    """The comparison of any export with one contract."""
    return lambda delivered: drift_between(contract, delivered, before)


def drift_between(contract: Contract, delivered: pl.DataFrame, before: Before = nothing_before) -> list[Drift]:
    """How a delivered export differs from the contract.

    A text column holds what the contract asks for if every value in it reads as that: files of text have no other
    types. Rows that break a rule of values are no drift, they go to quarantine; a column in which *no* value keeps the
    contract's type is retyped, one that is null throughout though it must be filled is emptied.

    Args:
        contract: What is expected.
        delivered: The export's rows with the types of its file, in any order of columns.
        before: What the last good export held in a column; asked only where one is gone and another has come.

    Returns:
        The differences, those that stop first; then in the contract's order.
    """
    found = [*_of_columns(contract, delivered, before)]
    frozen = {drift.column for drift in found if drift.kind == "renamed" and not drift.is_compatible}
    renamed = {drift.other: drift.column for drift in found if drift.read_from is not None and drift.other is not None}
    read = delivered.rename(renamed)
    for name in contract.columns:
        if name in read.columns and name not in frozen:
            found += _of_values(contract, read.get_column(name))
    return sorted(found, key=lambda drift: drift.is_compatible)


def difference(
    contract: Contract, column: str, kind: Kind, *, expected: str, found: str, rows: int | None = None
) -> Drift:
    """A difference with the contract's policy for it; the key is never admitted without a value or under doubt."""
    policy: Policy = getattr(contract.policies, CHANGES[kind])
    if column == contract.key and kind != "added" and policy in ("evolve", "warn"):
        policy = "quarantine" if kind in BY_VALUE else "freeze"
    return Drift(column, kind, expected, found, rows, policy)


def new_category(contract: Contract, name: str, values: pl.Series) -> Drift:
    """Values that the contract does not declare; named where they are nobody's."""
    kinds = values.unique().sort()
    said = ", ".join(kinds.head(5).to_list()) if contract.pii[name] == "none" else f"{len(kinds)} others"
    allowed = len(contract.categories.get(name, []))
    return difference(
        contract, name, "new_category", expected=f"one of {allowed} declared values", found=said, rows=values.len()
    )


def _of_columns(contract: Contract, delivered: pl.DataFrame, before: Before) -> Iterator[Drift]:
    added = [name for name in delivered.columns if name not in contract.columns]
    for name in contract.columns:
        if name in delivered.columns:
            continue
        suggested = other_name(contract, name, delivered, added, before)
        if suggested is None:
            yield difference(contract, name, "removed", expected=str(contract.schema[name]), found="no such column")
        else:
            added.remove(suggested.name)
            told = f"{suggested.name}, which looks like it{suggested.why}"
            policy = difference(contract, name, "renamed", expected=name, found=told).policy
            yield Drift(name, "renamed", name, told, None, policy, suggested.name)
    for name in added:
        yield difference(contract, name, "added", expected="no such column", found=str(delivered.schema[name]))


def _of_values(contract: Contract, values: pl.Series) -> list[Drift]:
    name, wanted = values.name, contract.schema[values.name]
    other = misfit(wanted, values)
    if other is not None:
        return [difference(contract, name, "retyped", expected=str(wanted), found=other)]
    found: list[Drift] = []
    nulls = values.null_count()
    if nulls and not contract.nullable(name):
        kind: Kind = "emptied" if nulls == values.len() else "nullability"
        found.append(difference(contract, name, kind, expected="a value in every row", found="nulls", rows=nulls))
    allowed = contract.categories.get(name)
    if allowed and values.dtype == pl.String:
        new = values.filter(~values.is_in(allowed)).drop_nulls()
        if not new.is_empty():
            found.append(new_category(contract, name, new))
    return found
