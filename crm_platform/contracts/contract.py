"""What one object of one CRM must look like, and how a frame is held against it.

An object's own columns are declared as a Pandera model with `field(…)`: type, key, PII class, meaning, ranges. From it
come the schemas of every hop (change, history, snapshot, current). Which file holds them, and what happens to a row that
fails, is decided elsewhere.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal

import pandera.polars as pa
import polars as pl

from crm_platform.contracts.envelope import (
    CURRENT_COLUMNS,
    PAYLOAD_COLUMNS,
    PROVENANCE_COLUMNS,
    RESERVED,
    SNAPSHOT_COLUMNS,
    VERSION_COLUMNS,
    Common,
)
from crm_platform.contracts.errors import ContractError
from crm_platform.contracts.policies import DEFAULT, Policies

Text = str
Money = Annotated[pl.Decimal, 18, 2]
Moment = Annotated[pl.Datetime, "us", "UTC"]
TextList = Annotated[pl.List, pl.String()]
PiiClass = Literal["none", "name", "email", "phone", "address", "free_text", "identifier"]
Hop = Literal["change", "history", "snapshot", "current"]

HOPS: dict[str, tuple[dict[str, Common], dict[str, Common]]] = {
    "change": (VERSION_COLUMNS, {**PAYLOAD_COLUMNS, **PROVENANCE_COLUMNS}),
    "history": (VERSION_COLUMNS, PROVENANCE_COLUMNS),
    "snapshot": ({"entity_id": VERSION_COLUMNS["entity_id"]}, SNAPSHOT_COLUMNS),
    "current": (CURRENT_COLUMNS, {}),
}
"""What stands before and after an object's own columns, hop by hop."""

PARTIAL_HOPS = frozenset({"change", "history"})
"""Hops whose rows may leave fields out: there a field must be filled only where the row writes it."""


class ObjectModel(pa.DataFrameModel):
    """The base of every object's model: columns in contract order, nothing coerced, nothing unknown."""

    class Config(pa.DataFrameModel.Config):
        """Pandera's settings for every contract."""

        strict = True
        coerce = False


def field(
    meaning: str,
    *,
    key: bool = False,
    pii: PiiClass = "none",
    nullable: bool = False,
    categories: tuple[str, ...] = (),
    ge: float | Decimal | None = None,
    le: float | Decimal | None = None,
    **rules: Any,
) -> Any:
    """Declares one column of an object.

    Args:
        meaning: What the column says, for people who read the lake.
        key: Whether it identifies the object; exactly one column does.
        pii: What kind of personal data it holds.
        nullable: Whether it may be empty on a full image.
        categories: The values it may take; empty where any will do.
        ge: Least value allowed.
        le: Greatest value allowed.
        rules: Further arguments of `pandera.polars.Field`.
    """
    if categories:
        rules["isin"] = list(categories)
    metadata = {"meaning": meaning, "key": key, "pii": pii, "categories": list(categories)}
    return pa.Field(nullable=nullable, ge=ge, le=le, description=meaning, metadata=metadata, **rules)


@dataclass(frozen=True)
class Checked:
    """A frame split by its contract.

    `good` holds the rows that keep it, in their order; `failures` one row per broken rule: `row` (position in the
    frame), `column`, `rule`.
    """

    good: pl.DataFrame
    failures: pl.DataFrame


FAILURES = pl.Schema({"row": pl.UInt32(), "column": pl.String(), "rule": pl.String()})


@dataclass(frozen=True)
class Contract:
    """One object of one CRM: its own columns, and the schemas of its tables."""

    source: str
    object: str
    model: type[ObjectModel]
    policies: Policies = DEFAULT

    @cached_property
    def _fields(self) -> Mapping[str, pa.Column]:
        return self.model.to_schema().columns

    @cached_property
    def key(self) -> str:
        """The column that identifies the object."""
        keys = [name for name, column in self._fields.items() if _told(column, "key")]
        if len(keys) != 1:
            raise ContractError.keyless(self.source, self.object, keys)
        return keys[0]

    @cached_property
    def schema(self) -> pl.Schema:
        """The object's own columns, in contract order."""
        return pl.Schema({name: _polars(column) for name, column in self._fields.items()})

    @property
    def columns(self) -> list[str]:
        """The names of the object's own columns, in contract order."""
        return list(self._fields)

    @property
    def pii(self) -> dict[str, str]:
        """The PII class of every column."""
        return {name: _told(column, "pii") for name, column in self._fields.items()}

    @property
    def meaning(self) -> dict[str, str]:
        """What every column says."""
        return {name: _told(column, "meaning") for name, column in self._fields.items()}

    @property
    def categories(self) -> dict[str, list[str]]:
        """The allowed values of every column that declares some."""
        found = {name: _told(column, "categories") for name, column in self._fields.items()}
        return {name: values for name, values in found.items() if values}

    def nullable(self, column: str) -> bool:
        """Whether a column may be empty on a full image."""
        return bool(self._fields[column].nullable)

    def table_schema(self, hop: Hop) -> pl.Schema:
        """The Polars schema of the object's table at a hop."""
        before, after = _around(hop)
        own = dict(self.schema)
        return pl.Schema(_dtypes(before) | own | _dtypes(after))

    @property
    def change_schema(self) -> pl.Schema:
        """The schema of landing/changes/<object>."""
        return self.table_schema("change")

    @property
    def history_schema(self) -> pl.Schema:
        """The schema of history/<object>."""
        return self.table_schema("history")

    @property
    def snapshot_schema(self) -> pl.Schema:
        """The schema of landing/snapshot/<object>."""
        return self.table_schema("snapshot")

    @property
    def current_schema(self) -> pl.Schema:
        """The schema of current/<object>."""
        return self.table_schema("current")

    def rules(self, hop: Hop) -> pa.DataFrameSchema:
        """The Pandera schema of the object's table at a hop: usable in a notebook as it stands."""
        before, after = _around(hop)
        partial = hop in PARTIAL_HOPS
        columns = {name: _common(column) for name, column in before.items()}
        enforced = {name: self._enforced(column) for name, column in self._fields.items()}
        for name, column in enforced.items():
            columns[name] = _relaxed(column) if partial else column
        columns |= {name: _common(column) for name, column in after.items()}
        written = [name for name, column in enforced.items() if not column.nullable] if partial else []
        checks = [_filled_where_written(name) for name in written]
        return pa.DataFrameSchema(columns, checks=checks, strict=True, name=f"{self.source}.{self.object}.{hop}")

    def _enforced(self, column: pa.Column) -> pa.Column:
        """A column without the rules that the object's policies do not hold rows to; its key is always held to all."""
        if _told(column, "key"):
            return column
        admits = self.policies.admit_categories
        return pa.Column(
            _polars(column),
            [check for check in column.checks if not (admits and check.name == "isin")],
            nullable=column.nullable or self.policies.admit_nulls,
            unique=column.unique,
            description=column.description,
            metadata=column.metadata,
        )

    def check(self, frame: pl.DataFrame, hop: Hop) -> Checked:
        """Splits a frame into the rows that keep the contract and the rules that the others break.

        Args:
            frame: Exactly the columns of `table_schema(hop)`, with their types.
            hop: Which of the object's tables the frame is meant for.

        Raises:
            pandera.errors.SchemaErrors: The frame's columns or types differ: that is no matter of single rows.
        """
        try:
            self.rules(hop).validate(frame, lazy=True)
        except pa.errors.SchemaErrors as broken:
            cases = broken.failure_cases
            if cases.get_column("index").null_count():
                raise
            failures = cases.select(
                pl.col("index").cast(pl.UInt32).alias("row"),
                pl.when(pl.col("check").str.starts_with(_FILLED))
                .then(pl.col("check").str.strip_prefix(_FILLED))
                .otherwise(pl.col("column"))
                .alias("column"),
                pl.when(pl.col("check").str.starts_with(_FILLED))
                .then(pl.lit("not_nullable"))
                .otherwise(pl.col("check"))
                .alias("rule"),
            ).unique(maintain_order=True)
            broke = failures.get_column("row").cast(pl.Int64).implode()
            kept = frame.filter(~pl.int_range(pl.len(), dtype=pl.Int64).is_in(broke))
            return Checked(kept, failures.sort("row", "column", "rule"))
        return Checked(frame, pl.DataFrame(schema=FAILURES))


def contracts_in(module: str) -> dict[str, Contract]:
    """The contracts that a module declares as SOURCE and OBJECTS, by object name, in declaration order.

    Where the module declares POLICIES, they say per object what is done about exports that differ.

    Raises:
        ContractError: The module declares none, a contract lacks a key or takes a reserved column name, or policies are
            declared for an object that is not there.
    """
    declared = importlib.import_module(module)
    objects: dict[str, type[ObjectModel]] = getattr(declared, "OBJECTS", {})
    if not objects:
        raise ContractError.no_module(module)
    policies: dict[str, Policies] = getattr(declared, "POLICIES", {})
    if policies.keys() - objects.keys():
        raise ContractError.other_policies(module, sorted(policies.keys() - objects.keys()))
    found = {
        name: Contract(declared.SOURCE, name, model, policies.get(name, DEFAULT)) for name, model in objects.items()
    }
    for contract in found.values():
        taken = sorted(RESERVED & set(contract.columns))
        if taken:
            raise ContractError.reserved(contract.source, contract.object, taken)
        _ = contract.key
    return found


_FILLED = "filled:"


def _filled_where_written(name: str) -> pa.Check:
    """A rule over whole rows: the field is filled wherever the row writes it."""
    skips = pl.col("is_tombstone") | ~pl.col("changed_fields").list.contains(name).fill_null(value=True)
    return pa.Check(lambda held: held.lazyframe.select(pl.col(name).is_not_null() | skips), name=f"{_FILLED}{name}")


def _around(hop: str) -> tuple[dict[str, Common], dict[str, Common]]:
    if hop not in HOPS:
        raise ContractError.unknown_hop(hop, list(HOPS))
    return HOPS[hop]


def _told(column: pa.Column, what: str) -> Any:
    return (column.metadata or {}).get(what)


def _polars(column: pa.Column) -> pl.DataType:
    return column.dtype.type  # pyright: ignore[reportOptionalMemberAccess]  a model's column always has a type


def _dtypes(columns: dict[str, Common]) -> dict[str, pl.DataType]:
    return {name: column.dtype for name, column in columns.items()}


def _common(column: Common) -> pa.Column:
    checks = [pa.Check.isin(list(column.allowed))] if column.allowed else None
    return pa.Column(column.dtype, checks, nullable=column.nullable, description=column.meaning)


def _relaxed(column: pa.Column) -> pa.Column:
    return pa.Column(
        _polars(column),
        column.checks,
        nullable=True,
        unique=False,
        description=column.description,
        metadata=column.metadata,
    )
