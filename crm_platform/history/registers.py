"""Registers on the known axis: which version each field of each entity shows, from which moment on.

Here is the walk of DESIGN 2, once, for entities, activities and merge facts alike: by `known_at`, keeping the running
maximum in version order per register. What the registers mean stands with those who ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.history.codes import Flags, Ints
from crm_platform.history.orders import is_new
from crm_platform.history.walks import alone, by_entity

BEGINNING = np.iinfo(np.int64).min
"""Before everything."""

TIMES = ("event_time", "processed_time")
VERSION_ORDER = (*TIMES, "source_position")
OPTIONAL: dict[str, pl.DataType] = {
    "source_position": pl.String(),
    "is_tombstone": pl.Boolean(),
    "changed_fields": pl.List(pl.String),
}
"""Columns that may be absent: then nothing orders further, nothing is a tombstone, everything is a full image."""


class VersionsError(PermanentError):
    """A frame of versions, activities or merges cannot be read as history."""

    @classmethod
    def lacking(cls, what: str, missing: Sequence[str]) -> "VersionsError":
        """Names the columns that are not there."""
        return cls(f"The {what} lack {', '.join(missing)}. Take these columns from history as well.")

    @classmethod
    def untimed(cls, what: str, column: str, dtype: pl.DataType) -> "VersionsError":
        """Says that a time column is no UTC time in microseconds."""
        return cls(
            f"The {what} have {column} as {dtype}, not as {UTC_US}. Say which time zone it is in, e.g. "
            f'pl.col("{column}").dt.replace_time_zone("UTC"), and cast it to microseconds.'
        )

    @classmethod
    def timeless(cls, what: str, column: str, rows: int) -> "VersionsError":
        """Says that rows have no time."""
        return cls(
            f"{rows} rows of the {what} have no {column}. Quarantine them, or give them the time of their ingestion."
        )


@dataclass(frozen=True)
class Steps:
    """The known-axis steps of many entities: from `since` to `until` every register shows the same version.

    All arrays have one item per step, sorted by (entity, since); `rows` are the versions in version order per entity.

    Attributes:
        rows: The versions read, sorted by entity and version order.
        known: When each row became known (µs).
        ids: One id per entity, sorted; `entity` counts in it. None where they were not asked for.
        entity: Whose step.
        since: From when on (µs since 1970), inclusive.
        until: Until when, exclusive; FOREVER for the last step.
        newest: The greatest version known, as a row.
        winners: Per field, the row whose write it shows; -1 where none has written it.
        are_rows: Whether the steps are the rows, one by one, each of an entity of its own and showing all of it.
    """

    rows: pl.DataFrame
    known: Ints
    ids: pl.Series
    entity: Ints
    since: Ints
    until: Ints
    newest: Ints
    winners: dict[str, Ints]
    are_rows: bool = False

    def shown(self, field: str, where: Ints | Flags | None = None) -> pl.Series:
        """What a field shows at each step, or at some."""
        winners = self.winners[field] if where is None else self.winners[field][where]
        column = pl.Series(winners)
        return self.rows[field].gather(column.set(column < 0, None) if len(winners) and winners.min() < 0 else column)

    def holding(self, columns: Sequence[str]) -> "Steps":
        """The same steps with some columns alone, without ids and times: what is held for long should be little."""
        winners = {field: rows for field, rows in self.winners.items() if field in columns}
        rows, nothing = self.rows.select(columns), self.known[:0]
        return replace(self, rows=rows, known=nothing, ids=self.ids.clear(), winners=winners)

    @property
    def is_tombstone(self) -> Flags:
        """Whether the greatest version known is a tombstone."""
        return self.rows["is_tombstone"].to_numpy()[self.newest]


def steps_of(
    versions: pl.DataFrame | pl.LazyFrame, fields: Sequence[str], what: str = "versions", *, is_named: bool = True
) -> Steps:
    """Walks the registers of every entity.

    Args:
        versions: One row per version: entity_id, event_time, processed_time and the fields; source_position,
            is_tombstone and changed_fields where there are any. Rows without an entity are left out.
        fields: The registers to walk, beside `is_deleted`.
        what: What the versions are, for messages.
        is_named: Whether the caller needs ids and version order; without, they are not held where rows stand in order.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds, or empty where a time must be.
    """
    lazy = checked(versions, fields, what)
    in_order = None if is_named else _unnamed(lazy, fields)
    if in_order is None:
        rows = _in_order(_rows_of(lazy, what))
        code, known = _entities(rows), known_times(rows)
        ids = rows["entity_id"].filter(pl.Series(is_new(code)))
    else:
        rows, code, known = in_order
        ids = pl.Series("entity_id", [])
    writers = writers_of(rows, fields)
    if len(code) and code[-1] + 1 < len(code):
        walk = by_entity(code, known, writers)
        return Steps(rows, known, ids, walk.entity, walk.since, walk.until, walk.newest, walk.winners)
    walk = alone(code, known, code, writers)
    is_whole = all(writes.all() for _, writes in writers)
    return Steps(rows, known, ids, code, walk.since, walk.until, code, walk.winners, are_rows=is_whole)


def _unnamed(lazy: pl.LazyFrame, fields: Sequence[str]) -> tuple[pl.DataFrame, Ints, Ints] | None:
    """The versions without what puts them in order, each one's entity, and when each became known.

    One pass compares each version with the one before and lets go of ids and times, which are most of what it reads. None
    where they do not stand in order, or order cannot be told without positions, or a time is missing.
    """
    ids, (event, processed) = pl.col("entity_id"), (pl.col(name) for name in TIMES)
    is_same, falls = ids == ids.shift(1), event < event.shift(1)
    falls |= (event == event.shift(1)) & (processed <= processed.shift(1))
    told = {
        "_is_new": ids != ids.shift(1),
        "_rises": ids >= ids.shift(1),
        "_is_doubtful": (is_same & falls).fill_null(value=False) | event.is_null() | processed.is_null(),
        "_known": pl.max_horizontal(TIMES),
    }
    unneeded = {"entity_id", *VERSION_ORDER}.difference(fields)
    rows = lazy.select(pl.exclude(unneeded), **told).collect(engine="streaming")
    is_settled = rows["_rises"][1:].all(ignore_nulls=False) and not rows["_is_doubtful"].any()
    if not is_settled or lazy.select(ids.head(1).is_null().any()).collect().item():
        return None
    code = np.cumsum(rows["_is_new"].fill_null(value=False).to_numpy(), dtype=np.int64)
    return rows.drop(told), code, rows["_known"].to_physical().to_numpy()


def version_rows(versions: pl.DataFrame | pl.LazyFrame, fields: Sequence[str], what: str) -> pl.DataFrame:
    """The versions with all columns that decide, sorted by entity and version order, nulls lowest.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds, or empty where a time must be.
    """
    return _in_order(_rows_of(checked(versions, fields, what), what))


def checked(versions: pl.DataFrame | pl.LazyFrame, fields: Sequence[str], what: str) -> pl.LazyFrame:
    """The versions with all columns that decide, none of them read yet.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds.
    """
    lazy = versions.lazy()
    schema = lazy.collect_schema()
    check_times(schema, what, TIMES)
    missing = [name for name in ("entity_id", *fields) if name not in schema]
    if missing:
        raise VersionsError.lacking(what, missing)
    absent = [name for name in OPTIONAL if schema.get(name, pl.Null()) == pl.Null]
    return (
        lazy.with_columns(pl.lit(None, OPTIONAL[name]).alias(name) for name in absent)
        .select(list(dict.fromkeys(["entity_id", *VERSION_ORDER, "is_tombstone", "changed_fields", *fields])))
        .with_columns(pl.col("is_tombstone").fill_null(value=False))
    )


def _rows_of(lazy: pl.LazyFrame, what: str) -> pl.DataFrame:
    """Reads versions, in any order."""
    rows = lazy.collect()
    if rows["entity_id"].null_count():
        rows = rows.filter(pl.col("entity_id").is_not_null())
    refuse_timeless(rows, what, TIMES)
    return rows


def known_times(rows: pl.DataFrame) -> Ints:
    """When each version became known (µs)."""
    return np.maximum(*(rows[name].to_physical().to_numpy() for name in TIMES))


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """The versions by entity and version order, nulls lowest."""
    return rows if _is_sorted(rows) else rows.sort("entity_id", *VERSION_ORDER, maintain_order=True)


def check_times(schema: pl.Schema, what: str, columns: Sequence[str]) -> None:
    """Refuses time columns that are missing, naive, or not in microseconds.

    Raises:
        VersionsError: Names the column.
    """
    missing = [name for name in columns if name not in schema]
    if missing:
        raise VersionsError.lacking(what, missing)
    for name in columns:
        if schema[name] != UTC_US:
            raise VersionsError.untimed(what, name, schema[name])


def refuse_timeless(rows: pl.DataFrame, what: str, columns: Sequence[str]) -> None:
    """Refuses rows without a time.

    Raises:
        VersionsError: Names the column and how many rows lack it.
    """
    for name in columns:
        if rows[name].null_count():
            raise VersionsError.timeless(what, name, rows[name].null_count())


def writes_field(field: str) -> pl.Expr:
    """Whether a version writes a field: a full image all, a partial update those it names, a tombstone none."""
    return ~pl.col("is_tombstone") & pl.col("changed_fields").list.contains(field).fill_null(value=True)


def _is_sorted(rows: pl.DataFrame) -> bool:
    """Whether rows stand in the order of entity and version already, as a history sorted by entity does."""
    if not rows["entity_id"].is_sorted():
        return False
    tied, settled = _in_time(rows, _entities(rows))
    if len(tied):
        before, after = (rows["source_position"].gather(pl.Series(tied + shift)) for shift in (0, 1))
        settled &= bool(((before < after) | (before.is_null() & after.is_not_null())).fill_null(value=False).all())
    return settled


def _in_time(rows: pl.DataFrame, code: Ints) -> tuple[Ints, bool]:
    """The rows whose times are those of the next one of their entity, and whether all others stand in order of time."""
    event, processed = (rows[name].to_physical().to_numpy() for name in TIMES)
    same = code[1:] == code[:-1]
    equal = same & (event[1:] == event[:-1])
    falls = same & (event[1:] < event[:-1]) | equal & (processed[1:] < processed[:-1])
    return np.flatnonzero(equal & (processed[1:] == processed[:-1])), not falls.any()


def _entities(rows: pl.DataFrame) -> Ints:
    """Each row's entity, counted in the order of ids."""
    return rows["entity_id"].rle_id().to_numpy().astype(np.int64)


def writers_of(rows: pl.DataFrame, fields: Sequence[str]) -> list[tuple[list[str], Flags]]:
    """Which rows write which fields; all alike where every version is a full image or a tombstone."""
    partial = pl.col("changed_fields").is_not_null() & ~pl.col("is_tombstone")
    if not rows.select(partial.any()).item():
        return [(list(fields), (~rows["is_tombstone"]).to_numpy())]
    written = rows.select(writes_field(field).alias(field) for field in fields)
    return [([field], written[field].to_numpy()) for field in fields]
