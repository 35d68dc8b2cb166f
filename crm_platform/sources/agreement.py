"""Whether a manifest and the contracts it names speak of the same objects and columns.

Complaints only: place in the manifest, what is wrong, what to do. Raising them is `loading`'s.
"""

import difflib
from collections.abc import Iterator, Mapping

from crm_platform.contracts import Contract
from crm_platform.sources.manifest import ROLES, Manifest, ObjectSpec

Complaint = tuple[str, str, str]
"""Place, what is wrong, what to do."""


def disagreements(manifest: Manifest, contracts: Mapping[str, Contract]) -> Iterator[Complaint]:
    """Whatever a manifest names that its contracts do not have."""
    yield from _objects(manifest, contracts)
    yield from _roles(manifest, contracts)
    yield from _training(manifest, contracts)


def _objects(manifest: Manifest, contracts: Mapping[str, Contract]) -> Iterator[Complaint]:
    for name, spec in manifest.objects.items():
        contract = contracts.get(name)
        if contract is None:
            known = ", ".join(contracts)
            yield f"objects.{name}", f"{manifest.contracts} has no contract for it (it has {known})", "Add one."
            continue
        if spec.key != contract.key:
            remedy = "Make the two agree."
            yield f"objects.{name}.key", f"is {spec.key!r}, but the contract's key is {contract.key!r}", remedy
        for place, column in _columns(spec):
            if column not in contract.columns:
                yield f"objects.{name}.{place}", *_unknown(column, contract)
        for place, why, remedy in _doubled(spec):
            yield f"objects.{name}.{place}", why, remedy


def _roles(manifest: Manifest, contracts: Mapping[str, Contract]) -> Iterator[Complaint]:
    for canonical, role in manifest.roles.items():
        contract = contracts.get(role.object) if role.object in manifest.objects else None
        if contract is None:
            known = ", ".join(manifest.objects)
            yield f"roles.{canonical}.object", f"there is no object {role.object!r}", f"Name one of: {known}."
            continue
        for part, column in role.columns.items():
            if part not in ROLES[canonical]:
                known = ", ".join(sorted(ROLES[canonical]))
                yield f"roles.{canonical}.columns.{part}", "no such part", f"Name one of: {known}."
            elif column not in contract.columns:
                yield f"roles.{canonical}.columns.{part}", *_unknown(column, contract)


def _training(manifest: Manifest, contracts: Mapping[str, Contract]) -> Iterator[Complaint]:
    for name, training in manifest.training.items():
        object_name = manifest.object_of(training.object)
        if object_name is None:
            remedy = "Say under `roles` which object it is."
            yield f"training.{name}.object", f"no role says which object the {training.object} is", remedy
        elif object_name in contracts and training.column not in contracts[object_name].columns:
            yield f"training.{name}.column", *_unknown(training.column, contracts[object_name])


def _columns(spec: ObjectSpec) -> Iterator[tuple[str, str]]:
    if spec.event_time:
        yield "event_time", spec.event_time
    if spec.processed_time:
        yield "processed_time", spec.processed_time
    if spec.merges.column and spec.merges.style == "listed":
        yield "merges.column", spec.merges.column
    for delivered, column in spec.rename.items():
        yield f"rename.{delivered}", column


def _doubled(spec: ObjectSpec) -> Iterator[Complaint]:
    """Two delivered columns that would be one."""
    first: dict[str, str] = {}
    for delivered, column in spec.rename.items():
        if column in first:
            remedy = "Keep the one that the CRM fills."
            yield f"rename.{delivered}", f"{first[column]} is called {column} already", remedy
        first.setdefault(column, delivered)


def _unknown(column: str, contract: Contract) -> tuple[str, str]:
    near = difflib.get_close_matches(column, contract.columns, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else "Name one of its columns."
    return f"the contract of {contract.object} has no column {column!r}", hint
