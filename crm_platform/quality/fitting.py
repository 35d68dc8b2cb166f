"""Whether delivered values can be what a contract asks for, whatever type their file gave them. Pure, values in, words out."""

import polars as pl

from crm_platform.contracts import UTC_US


def misfit(wanted: pl.DataType, values: pl.Series) -> str | None:
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
