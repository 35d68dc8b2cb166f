"""The roots of every error this project raises; each room names its own failures below one of them.

Retrying is decided in one place by these two families: a `TransientError` may go away by itself, a
`PermanentError` needs somebody to change something. No message ever carries a payload, a secret or a person's data.
"""

from collections.abc import Sequence


class CrmPlatformError(Exception):
    """Anything that crm_platform refuses or fails to do; the message says what, where and how much, what to do."""


class TransientError(CrmPlatformError):
    """A failure that may pass: trying again later is right."""


class PermanentError(CrmPlatformError):
    """A failure that stays until something is changed: trying again is wrong."""


class ContractError(PermanentError):
    """A contract cannot be used as it is declared."""

    @classmethod
    def reserved(cls, source: str, object_name: str, columns: list[str]) -> "ContractError":
        """Says that a contract declares columns the platform keeps for itself."""
        named = ", ".join(columns)
        return cls(
            f"Contract {source}/{object_name} declares reserved columns: {named}. "
            "Rename them in the contract and map the CRM's names in the manifest."
        )

    @classmethod
    def keyless(cls, source: str, object_name: str, keys: list[str]) -> "ContractError":
        """Says that a contract has no key, or several."""
        found = ", ".join(keys) or "none"
        return cls(
            f"Contract {source}/{object_name} needs exactly one column with key=True; found: {found}. "
            "Mark the column that identifies the object."
        )

    @classmethod
    def no_policy(cls, change: str, policy: str, allowed: Sequence[str]) -> "ContractError":
        """Says that a kind of change has a policy that it cannot have."""
        return cls(
            f"The policy for columns that are {change} cannot be {policy!r}. Say one of: {', '.join(allowed)}; rows that "
            "landed before keep their types, so no policy lets another type in."
            if change == "retyped"
            else f"The policy for {change} cannot be {policy!r}. Say one of: {', '.join(allowed)}."
        )

    @classmethod
    def other_policies(cls, module: str, objects: list[str]) -> "ContractError":
        """Says that policies are declared for objects that the module has no model of."""
        return cls(
            f"POLICIES of {module} names objects without a model: {', '.join(objects)}. Name them as OBJECTS does."
        )

    @classmethod
    def unknown_hop(cls, hop: str, known: list[str]) -> "ContractError":
        """Says that a hop was asked for that no contract has."""
        return cls(f"There is no hop {hop!r} in a contract. Ask for one of: {', '.join(known)}.")

    @classmethod
    def no_module(cls, module: str) -> "ContractError":
        """Says that the module a manifest names holds no contracts."""
        return cls(
            f"{module} declares no contracts. Give it OBJECTS = {{'account': Account, …}} and SOURCE = '…', "
            "or mend the manifest's `contracts` entry."
        )
