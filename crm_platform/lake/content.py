"""What a frame's content is, apart from the order of its rows: storable types, alignment to a table, fingerprints.

Pure: frames in, frames and values out. Nothing here opens a table.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from crm_platform.lake.errors import SchemaChangeError

_SIGNED = {pl.UInt8: pl.Int16(), pl.UInt16: pl.Int32(), pl.UInt32: pl.Int64(), pl.UInt64: pl.Int64()}
_PLAIN = (
    pl.Boolean,
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.Float32,
    pl.Float64,
    pl.String,
    pl.Binary,
    pl.Date,
    pl.Decimal,
)
_SEEDS = (7, 1_000_003)

Fingerprint = tuple[int, int, int]
"""Rows, and two independent 64-bit sums over row hashes. Comparable within one version of Polars."""


def as_stored(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the types it will have when read back: signed integers, text for enumerations.

    Raises:
        SchemaChangeError: A column's type cannot be held by a Delta table without losing something.
    """
    wanted: dict[str, pl.DataType] = {}
    refused: dict[str, Any] = {}
    for name, dtype in frame.schema.items():
        stored = _stored(dtype)
        if stored is None:
            refused[name] = dtype
        elif stored != dtype:
            wanted[name] = stored
    if refused:
        raise SchemaChangeError.unstorable(table, refused)
    return frame.cast(wanted) if wanted else frame  # pyright: ignore[reportArgumentType]  a mapping of names is one


def aligned(table: str, frame: pl.DataFrame, held: Mapping[str, pl.DataType], *, may_lack: bool) -> pl.DataFrame:
    """The frame with the table's columns first, in the table's order, then its new ones.

    Args:
        table: The table's name, for messages.
        frame: Typed rows.
        held: The columns the table has now.
        may_lack: Whether the frame may leave out columns of the table, which are null then.

    Raises:
        SchemaChangeError: A column would be retyped, or removed where that is not allowed.
    """
    changes = {
        name: (held[name], dtype) for name, dtype in frame.schema.items() if name in held and held[name] != dtype
    }
    if changes:
        raise SchemaChangeError.retyped(table, changes)
    lacking = [name for name in held if name not in frame.schema]
    if lacking and not may_lack:
        raise SchemaChangeError.removed(table, lacking)
    new = [name for name in frame.columns if name not in held]
    filled = frame.with_columns(pl.lit(None, dtype=held[name]).alias(name) for name in lacking)
    return filled.select([*held, *new])


def row_fingerprint(columns: list[str]) -> list[pl.Expr]:
    """Aggregations that tell a set of rows from another whatever their order; needs the columns in one fixed order.

    Both zeros count as one value, all NaN as one, a null as itself, and null lists are not empty lists.
    """
    row = pl.struct(pl.col(column) for column in sorted(columns))
    return [
        pl.len().cast(pl.Int64).alias("rows"),
        row.hash(_SEEDS[0]).sum().alias("low"),
        row.hash(_SEEDS[1]).sum().alias("high"),
    ]


def fingerprint(frame: pl.DataFrame | pl.LazyFrame) -> Fingerprint:
    """The content of a frame as three numbers that do not depend on the order of rows or columns."""
    lazy = frame.lazy()
    names = lazy.collect_schema().names()
    rows, low, high = lazy.select(row_fingerprint(names)).collect(engine="streaming").row(0)
    return rows, low or 0, high or 0


def fingerprints_by(frame: pl.DataFrame | pl.LazyFrame, partition: str, columns: list[str]) -> dict[Any, Fingerprint]:
    """The content of every partition of a frame, by the partition's value."""
    found = frame.lazy().group_by(partition).agg(row_fingerprint(columns)).collect(engine="streaming")
    return {value: (rows, low, high) for value, rows, low, high in found.iter_rows()}


def _stored(dtype: pl.DataType) -> pl.DataType | None:
    kind = dtype.base_type()
    found: pl.DataType | None = None
    if kind in _PLAIN or dtype == pl.Datetime("us", "UTC"):
        found = dtype
    elif kind in _SIGNED:
        found = _SIGNED[kind]
    elif kind in (pl.Categorical, pl.Enum):
        found = pl.String()
    elif isinstance(dtype, pl.List):
        inner = _stored(dtype.inner)  # pyright: ignore[reportArgumentType]  an instance, once a frame holds it
        found = None if inner is None else pl.List(inner)
    elif isinstance(dtype, pl.Struct):
        parts = {part.name: _stored(part.dtype) for part in dtype.fields}  # pyright: ignore[reportArgumentType]
        known = {name: inner for name, inner in parts.items() if inner is not None}
        found = pl.Struct(known) if len(known) == len(parts) else None
    return found
