"""Text to typed values, without coercion: a value is taken exactly or its rule is named.

Pure expressions over a text column and the JSON kind it was delivered as. Which columns there are, and what happens to a
row at fault, is decided in `rows` and `exports`.
"""

import polars as pl

from crm_platform.contracts import UTC_US

TEXT_KIND = "VARCHAR"
_WHOLE_KINDS = ("UBIGINT", "BIGINT", "HUGEINT", TEXT_KIND)
_NUMBER_KINDS = (*_WHOLE_KINDS, "DOUBLE")
_WHOLE = r"^-?\d+$"
_PLAIN = r"^-?\d+(\.\d+)?$"
_NUMBER = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"
_DAY = r"^\d{4}-\d\d-\d\d$"
_CLOCK = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6}0*)?"
_ZONE = r"(Z|[+-]\d\d:?\d\d)$"
_EXACT_DIGITS = 15
"""A JSON number with more digits has been through a float, and may not be what was meant."""


def typed(text: pl.Expr, kind: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    """How a delivered value becomes a column's value, and which rule it breaks instead.

    Args:
        text: The value as text, null where there is none.
        kind: How it was delivered, in the words of `lake.query.json_fields`.
        dtype: The column's type.

    Returns:
        The value, null where it is null or at fault; and the fault's name (`type`, `naive_timestamp`), else null.
    """
    value, allowed = _value(text, kind, dtype)
    taken = pl.when(allowed.fill_null(value=False)).then(value)
    lost = text.is_not_null() & taken.is_null()
    fault = pl.when(lost).then(_fault(text, kind, dtype)).otherwise(pl.lit(None, dtype=pl.String))
    return taken, fault


def _value(text: pl.Expr, kind: pl.Expr, dtype: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    """The value where it is allowed, and whether it is."""
    value, allowed = text.cast(dtype, strict=False), kind == TEXT_KIND
    if dtype.is_integer():
        allowed = kind.is_in(_WHOLE_KINDS) & text.str.contains(_WHOLE)
    elif dtype.is_float():
        allowed = kind.is_in(_NUMBER_KINDS) & text.str.contains(_NUMBER)
    elif isinstance(dtype, pl.Decimal):
        value, allowed = _decimal(text, kind, dtype)
    elif dtype == pl.Boolean():
        value, allowed = text == "true", kind.is_in(("BOOLEAN", TEXT_KIND)) & text.is_in(("true", "false"))
    elif dtype == pl.Date():
        value, allowed = text.str.to_date("%Y-%m-%d", strict=False), allowed & text.str.contains(_DAY)
    elif dtype == UTC_US:
        value, allowed = _moment(text), allowed & text.str.contains(_CLOCK + _ZONE)
    elif isinstance(dtype, pl.List):
        allowed = kind == "TEXTS"
        value = pl.when(allowed).then(text).str.json_decode(dtype)
    return value, allowed


def _decimal(text: pl.Expr, kind: pl.Expr, dtype: pl.Decimal) -> tuple[pl.Expr, pl.Expr]:
    exact = rf"^-?\d+(\.\d{{0,{dtype.scale}}})?0*$"
    shown = text.str.extract(rf"^(-?\d+(?:\.\d{{1,{dtype.scale}}})?)") if dtype.scale else text.str.extract(r"^(-?\d+)")
    digits = text.str.strip_chars_start("-").str.replace(".", "", literal=True).str.strip_chars("0").str.len_chars()
    believed = (kind != "DOUBLE") | (digits <= _EXACT_DIGITS)
    allowed = kind.is_in(_NUMBER_KINDS) & text.str.contains(_PLAIN) & text.str.contains(exact) & believed
    return shown.cast(dtype, strict=False), allowed


def _moment(text: pl.Expr) -> pl.Expr:
    zoned = text.str.replace(" ", "T", literal=True).str.replace("Z", "+00:00", literal=True)
    return zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False)


def _fault(text: pl.Expr, kind: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == UTC_US:
        naive = (kind == TEXT_KIND) & text.str.contains(_CLOCK + "$")
        return pl.when(naive).then(pl.lit("naive_timestamp")).otherwise(pl.lit("type"))
    return pl.lit("type")
