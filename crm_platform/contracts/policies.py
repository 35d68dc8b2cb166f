"""What is done about an export that differs from its contract: one policy per kind of change, declared beside the models.

Only the words and their defaults stand here. What differs is found in `quality`, landing does what the policy says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from crm_platform.contracts.errors import ContractError

Policy = Literal["evolve", "warn", "quarantine", "freeze"]
"""Take it silently; take it and say so; let the rows that show it wait; land nothing of the export and stop the day."""

POLICIES: tuple[Policy, ...] = get_args(Policy)
KEPT_TYPES: tuple[Policy, ...] = ("quarantine", "freeze")
"""What can be done about another type: the rows that landed before keep theirs, so a table cannot take two."""
TOLD: tuple[Policy, ...] = ("evolve", "warn")
"""What can be done about text that reads as the type: the same rows land either way."""
ALLOWED: Mapping[str, tuple[Policy, ...]] = {"retyped": KEPT_TYPES, "as_text": TOLD}
"""The policies of those changes that not every policy fits."""


@dataclass(frozen=True)
class Policies:
    """One object's policy for each kind of change.

    Attributes:
        added: A column that the contract does not know.
        removed: A column of the contract that is gone, or null throughout though it must be filled.
        retyped: A column of which no value keeps the contract's type; `quarantine` or `freeze`.
        as_text: A column whose values come as text that reads as its type, though exports before had the type; `evolve`
            or `warn`.
        renamed: A removed column that an added one looks like; short of `freeze`, the added one is read as it.
        nulls: Nulls where the contract wants a value.
        categories: Values that a column with declared categories does not declare.
    """

    added: Policy = "warn"
    removed: Policy = "freeze"
    retyped: Policy = "freeze"
    as_text: Policy = "warn"
    renamed: Policy = "freeze"
    nulls: Policy = "quarantine"
    categories: Policy = "quarantine"

    def __post_init__(self) -> None:
        """Refuses words that are no policies, and those that cannot be followed."""
        for change in fields(self):
            allowed = ALLOWED.get(change.name, POLICIES)
            if getattr(self, change.name) not in allowed:
                raise ContractError.no_policy(change.name, getattr(self, change.name), allowed)

    @property
    def admit_nulls(self) -> bool:
        """Whether rows may land without a value that the contract wants."""
        return self.nulls in ("evolve", "warn")

    @property
    def admit_categories(self) -> bool:
        """Whether rows may land with a value that the contract does not declare."""
        return self.categories in ("evolve", "warn")


DEFAULT = Policies()
"""What holds for an object of which its module says nothing."""
