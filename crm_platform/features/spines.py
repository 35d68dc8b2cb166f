"""Spines: the questions of a training set, one row each. Here they are checked; who answers them stands in `joins`.

Nothing here reads a timeline.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.history.codes import Ints


class SpineError(PermanentError):
    """A spine, or the way it is asked about, cannot be used."""

    @classmethod
    def lacking(cls, missing: Sequence[str], present: Sequence[str]) -> "SpineError":
        """Names the columns that are not there."""
        return cls(
            f"The spine lacks {', '.join(missing)}; it has {', '.join(present) or 'no columns'}. Give it one row per "
            "question with the entity's key and as_of, or say with `on` what the key is called."
        )

    @classmethod
    def untimed(cls, dtype: pl.DataType) -> "SpineError":
        """Says that as_of is no moment."""
        return cls(
            f"The spine's as_of is {dtype}, which is no moment with a time zone. Say which zone it is in, e.g. "
            'pl.col("as_of").dt.replace_time_zone("UTC").'
        )

    @classmethod
    def taken(cls, columns: Sequence[str]) -> "SpineError":
        """Names the spine's columns that the answer would overwrite."""
        return cls(
            f"The spine already has {len(columns)} of the columns to be added: {', '.join(columns)}. "
            "Rename or drop them, or join several timelines by name: the names become prefixes."
        )

    @classmethod
    def key_type(cls, key: str, found: pl.DataType, wanted: pl.DataType) -> "SpineError":
        """Says that keys cannot be compared."""
        return cls(f"The spine's {key} is {found}, the timeline's entity_id is {wanted}. Cast one to the other's type.")

    @classmethod
    def negative(cls, name: str, span: timedelta) -> "SpineError":
        """Says that a stretch of time looks into the future."""
        return cls(f"The {name} is {span}; less than zero would look into the future. Give zero or more.")


def check_spine(spine: pl.DataFrame, key: str) -> None:
    """Refuses a spine without a key or without moments.

    Raises:
        SpineError: A column is missing, or as_of is naive.
    """
    missing = [name for name in (key, "as_of") if name not in spine.columns]
    if missing:
        raise SpineError.lacking(missing, spine.columns)
    dtype = spine.schema["as_of"]
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        raise SpineError.untimed(dtype)


def moments_of(spine: pl.DataFrame) -> pl.Series:
    """The spine's as_of in UTC and microseconds; finer ones are cut off, as the axes have none."""
    return spine["as_of"].cast(UTC_US)


def micros_of(moments: pl.Series) -> Ints:
    """Moments as µs; a null one long before everything."""
    return moments.to_physical().fill_null(np.iinfo(np.int64).min // 2).to_numpy().astype(np.int64, copy=False)


def refuse_taken(spine: pl.DataFrame, added: Sequence[str]) -> None:
    """Refuses columns that would overwrite the spine's.

    Raises:
        SpineError: Names them.
    """
    taken = [name for name in added if name in spine.columns]
    if taken:
        raise SpineError.taken(taken)


def since_then(answers: pl.DataFrame, as_of: pl.Series) -> pl.DataFrame:
    """Adds what is derived from a moment: `recency` beside last_at, `{field}_days` beside {field}_since.

    Args:
        answers: One row per question: columns of a timeline.
        as_of: The questions' moments.
    """
    columns: list[pl.Series] = []
    for column in answers.get_columns():
        columns.append(column)
        if not isinstance(column.dtype, pl.Datetime):
            continue
        field = column.name.removesuffix("_since")
        if column.name == "last_at":
            columns.append((as_of - column).alias("recency"))
        elif field != column.name and field in answers.columns:
            days = (as_of - column).dt.total_microseconds() / (86_400 * 1_000_000)
            columns.append(days.alias(f"{field}_days"))
    return pl.DataFrame(columns)
