"""How an incoming export differs from its contract: columns added, removed, retyped, renamed; nulls and values that are new.

What was delivered and the contract come in, differences go out. Who stops for them is decided where exports land;
`landed_drift` looks at what has landed since, and at what was kept because it could not.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from crm_platform.contracts import QUARANTINE, UTC_US, Contract
from crm_platform.lake import Lake
from crm_platform.lake.query import json_fields
from crm_platform.landing import kept_days
from crm_platform.landing.exports import parts_of
from crm_platform.landing.snapshots import kept_export
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.sources import Manifest

Kind = Literal["added", "removed", "renamed", "retyped", "emptied", "nullability", "new_category"]

STOPS: frozenset[Kind] = frozenset({"removed", "renamed", "retyped", "emptied"})
"""Differences after which the rows would say something else, or nothing: the export must not land."""

ALIKE = 0.6
"""From which likeness of names on an added column is taken for a removed one that was renamed."""

COMMON = 0.5
"""From which share of common values on it is, whatever its name."""

REMEDY = (
    "Compatible differences need no haste: add the column or value to the contract. "
    "Otherwise change the contract and land the kept file, ask the CRM for the old shape and export the day again, "
    "or skip the day with `crm-platform snapshot skip DAY --object OBJECT`."
)


@dataclass(frozen=True)
class Drift:
    """One difference.

    Attributes:
        column: The contract's column, or the delivered one where the contract has none.
        kind: What differs.
        expected: What the contract says.
        found: What was delivered.
        rows: How many rows show it; None for a difference of the schema.
    """

    column: str
    kind: Kind
    expected: str
    found: str
    rows: int | None = None

    @property
    def is_compatible(self) -> bool:
        """Whether rows may land in spite of it."""
        return self.kind not in STOPS

    def __str__(self) -> str:
        """Names the column, what was expected and what was found."""
        shown = "" if self.rows is None else f" ({self.rows} rows)"
        return f"{self.column} {self.kind.replace('_', ' ')}: expected {self.expected}, found {self.found}{shown}"


def drift_of(contract: Contract) -> Callable[[pl.DataFrame], list[Drift]]:
    """The comparison of any export with one contract."""
    return lambda delivered: drift_between(contract, delivered)


def drift_between(contract: Contract, delivered: pl.DataFrame) -> list[Drift]:
    """How a delivered export differs from the contract.

    A text column holds what the contract asks for if every value in it reads as that: files of text have no other
    types. Rows that break a rule of values are no drift, they go to quarantine; a column in which *no* value keeps the
    contract's type is retyped, one that is null throughout though it must be filled is emptied.

    Args:
        contract: What is expected.
        delivered: The export's rows with the types of its file, in any order of columns.

    Returns:
        The differences, those that stop first; then in the contract's order.
    """
    found = [*_of_columns(contract, delivered)]
    renamed = {drift.column for drift in found if drift.kind == "renamed"}
    for name in contract.columns:
        if name in delivered.columns and name not in renamed:
            found += _of_values(contract, delivered.get_column(name))
    return sorted(found, key=lambda drift: drift.is_compatible)


def landed_drift(lake: Lake, manifest: Manifest, contract: Contract, days: Sequence[date]) -> CheckResult:
    """The check of an object's exports: those that landed, with columns the contract does not know, and those kept.

    Args:
        lake: Where exports land, or are kept.
        manifest: What the CRM is.
        contract: The object's contract.
        days: The days looked at; one without an export gives no finding.

    Raises:
        ExportUnreadableError: A kept file is broken.
    """
    table = f"landing/snapshot/{contract.object}"
    wanted = set(days)
    landed = sorted(day for day in lake.days(table) if isinstance(day, date) and day in wanted)
    found = _added(lake, contract, landed)
    rows = {day: rows for day, rows in lake.rows_by_day(table).items() if isinstance(day, date)}
    for day, drift, refused in _refused(lake, contract, sorted(wanted)):
        found.setdefault(day, []).append(drift)
        rows[day] = rows.get(day, 0) + refused
    for day in sorted(wanted.intersection(kept_days(lake, contract.object)).difference(found)):
        export = kept_export(lake, contract.object, day)
        parts = [] if export is None else parts_of(export, manifest)
        found[day] = list(dict.fromkeys(drift for part in parts for drift in drift_between(contract, part.delivered)))
        rows[day] = sum(part.delivered.height for part in parts)
    return drift_check(contract, found, rows)


def drift_check(
    contract: Contract, drifts: Mapping[date, Sequence[Drift]], rows: Mapping[date, int] | None = None
) -> CheckResult:
    """The check's answer: an error for days whose export must not land, else a warning for days that differ at all.

    Args:
        contract: What was expected.
        drifts: By day, how the export differed.
        rows: By day, how many rows were exported.
    """
    must_stop = any(_stops(found) for found in drifts.values())
    fails = _stops if must_stop else bool
    findings = [_finding(day, found, (rows or {}).get(day, 0), fails) for day, found in sorted(drifts.items())]
    severity: Literal["warn", "error"] = "error" if must_stop else "warn"
    return CheckResult("schema_drift", f"landing/snapshot/{contract.object}", findings, REMEDY, severity)


def _added(lake: Lake, contract: Contract, days: Sequence[date]) -> dict[date, list[Drift]]:
    """By day, the columns of the landed export that the contract does not know; of each day a thousand rows tell."""
    scanned = lake.scan(f"landing/snapshot/{contract.object}", days=days, schema=contract.snapshot_schema)
    extra = scanned.select("snapshot_date", "_extra").drop_nulls().collect()
    found: dict[date, list[Drift]] = {day: [] for day in days}
    for (day,), rows in extra.partition_by("snapshot_date", as_dict=True).items():
        told = json_fields(rows.get_column("_extra").head(1000), []).get_column("keys").explode().drop_nulls()
        if isinstance(day, date):
            found[day] = [Drift(name, "added", "no such column", "a column") for name in told.unique().sort()]
    return found


def _refused(lake: Lake, contract: Contract, days: Sequence[date]) -> Iterator[tuple[date, Drift, int]]:
    """What landed exports showed that the contract does not allow, by the rows that wait in quarantine for it."""
    waiting = (
        lake.scan(f"quarantine/{contract.object}", days=days, schema=QUARANTINE)
        .filter(pl.col("_channel") == "snapshot", pl.col("resolved_by").is_null(), pl.col("column").is_not_null())
        .select("processed_date", "column", "payload", pl.col("rule").str.split(":").list.first())
        .collect()
    )
    for (day, name, rule), rows in waiting.partition_by("processed_date", "column", "rule", as_dict=True).items():
        if not isinstance(day, date) or name not in contract.columns:
            continue
        if rule == "not_nullable":
            yield day, Drift(name, "nullability", "a value in every row", "nulls", rows.height), rows.height
        elif str(rule).startswith("isin"):
            values = json_fields(rows.get_column("payload"), [name]).get_column(f"text:{name}").drop_nulls()
            yield day, _new_category(contract, name, values), rows.height


def _new_category(contract: Contract, name: str, values: pl.Series) -> Drift:
    """Values that the contract does not declare; named where they are nobody's."""
    kinds = values.unique().sort()
    said = ", ".join(kinds.head(5).to_list()) if contract.pii[name] == "none" else f"{len(kinds)} others"
    allowed = len(contract.categories.get(name, []))
    return Drift(name, "new_category", f"one of {allowed} declared values", said, values.len())


def _stops(drifts: Sequence[Drift]) -> bool:
    return any(not drift.is_compatible for drift in drifts)


def _finding(day: date, drifts: Sequence[Drift], rows: int, fails: Callable[[Sequence[Drift]], bool]) -> Finding:
    if not drifts:
        return Finding(passed=True, what="The export keeps the contract.", day=day, total=rows)
    shown = pl.DataFrame(
        [(d.column, d.kind, d.expected, d.found, d.is_compatible) for d in drifts[:MOST_EXAMPLES]],
        schema=["column", "difference", "expected", "found", "compatible"],
        orient="row",
    )
    more = f", and {len(drifts) - 1} more" if len(drifts) > 1 else ""
    failed = fails(drifts)
    what = f"{drifts[0]}{more}."
    showing = max(rows if drift.rows is None else drift.rows for drift in drifts)
    return Finding(not failed, what, day=day, failing=showing if failed else 0, total=rows, examples=shown)


def _of_columns(contract: Contract, delivered: pl.DataFrame) -> list[Drift]:
    added = [name for name in delivered.columns if name not in contract.columns]
    found: list[Drift] = []
    for name in contract.columns:
        if name in delivered.columns:
            continue
        other = _other_name(name, contract, delivered.select(added))
        if other is None:
            found.append(Drift(name, "removed", str(contract.schema[name]), "no such column"))
        else:
            added.remove(other)
            found.append(Drift(name, "renamed", name, f"{other}, which looks like it"))
    found += [Drift(name, "added", "no such column", str(delivered.schema[name])) for name in added]
    return found


def _other_name(name: str, contract: Contract, added: pl.DataFrame) -> str | None:
    """The added column that the removed one has become, if one looks like it: by its name, or by its values."""
    fitting = [other for other in added.columns if _fits(contract.schema[name], added.get_column(other)) is None]
    near = difflib.get_close_matches(name, fitting, n=1, cutoff=ALIKE)
    if near:
        return near[0]
    allowed = contract.categories.get(name)
    if allowed:
        shares = {other: _share_in(added.get_column(other), allowed) for other in fitting}
        best = max(shares, key=lambda other: shares[other], default=None)
        if best is not None and shares[best] >= COMMON:
            return best
    return None


def _share_in(values: pl.Series, allowed: Sequence[str]) -> float:
    held = values.drop_nulls()
    return float(held.cast(pl.String).is_in(allowed).mean() or 0) if held.dtype == pl.String else 0.0  # pyright: ignore[reportArgumentType]  a share is a number


def _of_values(contract: Contract, values: pl.Series) -> list[Drift]:
    name, wanted = values.name, contract.schema[values.name]
    misfit = _fits(wanted, values)
    if misfit is not None:
        return [Drift(name, "retyped", str(wanted), misfit)]
    found: list[Drift] = []
    nulls = values.null_count()
    if nulls and not contract.nullable(name):
        kind: Kind = "emptied" if nulls == values.len() else "nullability"
        found.append(Drift(name, kind, "a value in every row", "nulls", nulls))
    allowed = contract.categories.get(name)
    if allowed and values.dtype == pl.String:
        new = values.filter(~values.is_in(allowed)).drop_nulls()
        if not new.is_empty():
            found.append(_new_category(contract, name, new))
    return found


def _fits(wanted: pl.DataType, values: pl.Series) -> str | None:
    """None where the values can be what the contract asks for; else what they are."""
    found, held = values.dtype, values.drop_nulls()
    if held.is_empty() or _holds(wanted, found):
        return None
    if isinstance(found, pl.Datetime) and wanted == UTC_US:
        return f"{found}, without a time zone"
    if found == pl.String():
        return None if _reads_as(wanted, held) else f"text that is no {_word(wanted)}"
    return str(found)


def _holds(wanted: pl.DataType, found: pl.DataType) -> bool:
    """Whether every value of the one type is a value of the other."""
    number = wanted.is_integer() or isinstance(wanted, pl.Decimal)
    return (
        found in (wanted, pl.Null())
        or (isinstance(found, pl.Datetime) and wanted == UTC_US and found.time_zone is not None)
        or (isinstance(found, pl.Decimal) and isinstance(wanted, pl.Decimal) and found.scale <= wanted.scale)
        or (found.is_integer() and number)
        or (found.is_numeric() and wanted.is_float())
        or (isinstance(found, pl.List) and isinstance(wanted, pl.List) and found.inner in (wanted.inner, pl.Null()))
    )


def _reads_as(wanted: pl.DataType, values: pl.Series) -> bool:
    """Whether some text reads as the type: single values that do not are a matter of their rows."""
    if isinstance(wanted, pl.Decimal):
        return bool(values.str.contains(r"^-?\d+(\.\d+)?$").any())
    if wanted == UTC_US:
        return bool(values.str.contains(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$").any())
    if wanted == pl.Date():
        return bool(values.str.contains(r"^\d{4}-\d\d-\d\d$").any())
    if wanted == pl.Boolean():
        return bool(values.str.to_lowercase().is_in(["true", "false", "t", "f"]).any())
    if isinstance(wanted, pl.List):
        return bool(values.str.starts_with("[").any())
    return values.cast(wanted, strict=False).null_count() < values.len()


def _word(dtype: pl.DataType) -> str:
    if dtype == UTC_US:
        return "moment with a time zone"
    if isinstance(dtype, pl.Decimal):
        return "plain decimal number"
    return str(dtype)
