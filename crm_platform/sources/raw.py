"""RAW_CHANGE frames from parsed events: times read with their zone or not at all, fields as JSON text.

What an event's parts are called is the business of `feed` and `debezium`; typing the fields is `landing`'s.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from crm_platform.contracts import RAW_CHANGE, Contract

TIMES = ("event_time", "processed_time")
ZONED = "%Y-%m-%dT%H:%M:%S%.f%#z"
NAIVE = "%Y-%m-%dT%H:%M:%S%.f"

json_text = json.JSONEncoder(ensure_ascii=False).encode
"""JSON text of a value; one encoder, since making one costs more than using it."""

_DELIVERED = {name: pl.String() if name in TIMES else dtype for name, dtype in RAW_CHANGE.items()}


def moment_columns(contracts: Mapping[str, Contract]) -> dict[str, frozenset[str]]:
    """The columns of every object that hold moments."""
    return {
        name: frozenset(column for column, dtype in contract.schema.items() if isinstance(dtype, pl.Datetime))
        for name, contract in contracts.items()
    }


def raw_changes(rows: Sequence[Mapping[str, Any]], moments: Mapping[str, frozenset[str]]) -> pl.DataFrame:
    """One RAW_CHANGE row per parsed event.

    Args:
        rows: The columns of RAW_CHANGE by name (missing: null), with the times as ISO-8601 text and `fields` as a
            mapping. An `error` that is set stays.
        moments: Per object, the fields that hold moments.

    Returns:
        A RAW_CHANGE frame in the order given. A moment without a zone, or one that is none, stands in `error`.
    """
    columns = {name: [row.get(name) for row in rows] for name in RAW_CHANGE if name not in ("fields", *TIMES)}
    for name in TIMES:
        columns[name] = [_text(row.get(name)) for row in rows]
    columns["fields"] = [json_text(row.get("fields") or {}) for row in rows]
    checked = sorted(frozenset().union(*moments.values())) if moments else []
    inner = {f"field:{name}": [_moment(row, name, moments) for row in rows] for name in checked}
    frame = pl.DataFrame(columns | inner, schema=_DELIVERED | dict.fromkeys(inner, pl.String()))
    named = {name: name for name in TIMES} | {f"field:{name}": name for name in checked}
    faults = [_fault(column, told) for column, told in named.items()]
    return frame.with_columns(
        pl.coalesce("error", *faults).alias("error"), *[_moment_of(pl.col(name)).alias(name) for name in TIMES]
    ).select(pl.col(name).cast(dtype) for name, dtype in RAW_CHANGE.items())


def _text(given: Any) -> str | None:
    return None if given is None else str(given)


def _moment(row: Mapping[str, Any], name: str, moments: Mapping[str, frozenset[str]]) -> str | None:
    if name not in moments.get(row["object"], ()):
        return None
    return _text((row.get("fields") or {}).get(name))


def _moment_of(text: pl.Expr) -> pl.Expr:
    return text.str.replace(" ", "T", literal=True).str.to_datetime(
        ZONED, time_unit="us", time_zone="UTC", strict=False
    )


def _fault(column: str, told: str) -> pl.Expr:
    text = pl.col(column).str.replace(" ", "T", literal=True)
    naive = text.str.to_datetime(NAIVE, time_unit="us", strict=False).is_not_null()
    unread = pl.col(column).is_not_null() & _moment_of(pl.col(column)).is_null()
    return (
        pl.when(unread & naive)
        .then(pl.lit(f"naive_timestamp: {told}"))
        .when(unread)
        .then(pl.lit(f"bad_timestamp: {told}"))
        .otherwise(pl.lit(None, pl.String()))
    )
