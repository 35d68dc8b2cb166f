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

FOREVER = np.iinfo(np.int64).max
"""The end of what never ends, and no moment that anybody can ask about."""

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
        ids: One id per entity, sorted; `entity` counts in it.
        entity: Whose step.
        since: From when on (µs since 1970), inclusive.
        until: Until when, exclusive; FOREVER for the last step.
        newest: The greatest version known, as a row.
        winners: Per field, the row whose write it shows; -1 where none has written it.
        are_rows: Whether the steps are the rows, one by one, each of an entity of its own and showing all of it.
    """

    rows: pl.DataFrame
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
        """The same steps with some columns alone, and without the ids: what is held for long should be little."""
        winners = {field: rows for field, rows in self.winners.items() if field in columns}
        return replace(self, rows=self.rows.select(columns), ids=self.ids.clear(), winners=winners)

    @property
    def is_tombstone(self) -> Flags:
        """Whether the greatest version known is a tombstone."""
        return self.rows["is_tombstone"].to_numpy()[self.newest]


def steps_of(versions: pl.DataFrame | pl.LazyFrame, fields: Sequence[str], what: str = "versions") -> Steps:
    """Walks the registers of every entity.

    Args:
        versions: One row per version: entity_id, event_time, processed_time and the fields; source_position,
            is_tombstone and changed_fields where there are any. Rows without an entity are left out.
        fields: The registers to walk, beside `is_deleted`.
        what: What the versions are, for messages.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds, or empty where a time must be.
    """
    rows = _read(versions, fields, what)
    if _rise(rows["entity_id"]):
        return _of_single_versions(rows, fields, _known(rows))
    rows = _in_order(rows)
    known = _known(rows)
    first, code = _entities(rows)
    order = _by_known(code, known)
    walked = np.arange(rows.height, dtype=np.int64) if order is None else order
    at, who = known[walked], code[walked]
    ends = np.empty(rows.height, dtype=np.bool_)
    ends[-1:] = True
    np.not_equal(at[1:], at[:-1], out=ends[:-1])
    ends[:-1] |= who[1:] != who[:-1]
    floor = first[who[ends]]
    newest = np.maximum.accumulate(walked)[ends] if rows.height else walked
    winners: dict[str, Ints] = {}
    for fields_alike, writes in _writers(rows, fields):
        running = np.maximum.accumulate(np.where(writes[walked], walked, -1))[ends] if rows.height else walked
        winners |= dict.fromkeys(fields_alike, np.where(running < floor, -1, running))
    return _collapsed(rows, first, (who[ends], at[ends]), newest, winners)


def version_rows(versions: pl.DataFrame | pl.LazyFrame, fields: Sequence[str], what: str) -> pl.DataFrame:
    """The versions with all columns that decide, sorted by entity and version order, nulls lowest.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds, or empty where a time must be.
    """
    return _in_order(_read(versions, fields, what))


def _read(versions: pl.DataFrame | pl.LazyFrame, fields: Sequence[str], what: str) -> pl.DataFrame:
    """The versions with all columns that decide, in any order."""
    lazy = versions.lazy()
    schema = lazy.collect_schema()
    check_times(schema, what, TIMES)
    missing = [name for name in ("entity_id", *fields) if name not in schema]
    if missing:
        raise VersionsError.lacking(what, missing)
    absent = [name for name in OPTIONAL if schema.get(name, pl.Null()) == pl.Null]
    rows = (
        lazy.with_columns(pl.lit(None, OPTIONAL[name]).alias(name) for name in absent)
        .select(list(dict.fromkeys(["entity_id", *VERSION_ORDER, "is_tombstone", "changed_fields", *fields])))
        .with_columns(pl.col("is_tombstone").fill_null(value=False))
        .collect()
    )
    if rows["entity_id"].null_count():
        rows = rows.filter(pl.col("entity_id").is_not_null())
    refuse_timeless(rows, what, TIMES)
    return rows


def _known(rows: pl.DataFrame) -> Ints:
    """When each version became known (µs)."""
    return rows.select(pl.max_horizontal(TIMES)).to_series().to_physical().to_numpy()


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
    _, code = _entities(rows)
    tied = np.flatnonzero(code[1:] == code[:-1])
    if not len(tied):
        return True
    pairs = [rows.select(VERSION_ORDER).select(pl.all().gather(pl.Series(tied + shift))) for shift in (0, 1)]
    ordered = pl.Series([False]).new_from_index(0, len(tied))
    for name in reversed(VERSION_ORDER):
        before, after = pairs[0][name], pairs[1][name]
        is_less = (before < after) | (before.is_null() & after.is_not_null())
        equal = before.eq_missing(after)
        ordered = is_less.fill_null(value=False) | (equal & (ordered if name != VERSION_ORDER[-1] else True))
    return bool(ordered.all())


def _rise(ids: pl.Series) -> bool:
    """Whether each id is greater than the one before: then every entity has one version."""
    return bool((ids[1:] > ids[:-1]).all())


def _of_single_versions(rows: pl.DataFrame, fields: Sequence[str], known: Ints) -> Steps:
    """The steps where every entity has one version: nothing is ever replaced, and a step is a row."""
    row = np.arange(rows.height)
    winners: dict[str, Ints] = {}
    whole = True
    for fields_alike, writes in _writers(rows, fields):
        writes_all = bool(writes.all())
        whole &= writes_all
        winners |= dict.fromkeys(fields_alike, row if writes_all else np.where(writes, row, -1))
    until = np.broadcast_to(np.int64(FOREVER), rows.height)
    return Steps(rows, rows["entity_id"], row, known, until, row, winners, are_rows=whole)


def _entities(rows: pl.DataFrame) -> tuple[Ints, Ints]:
    """The first row of every entity, and each row's entity, counted in the order of ids."""
    code = rows["entity_id"].rle_id().to_numpy().astype(np.int64)
    first = np.flatnonzero(np.diff(code, prepend=-1))
    return first.astype(np.int64), code


def _by_known(code: Ints, known: Ints) -> Ints | None:
    """The order by (entity, known_at), version order at ties; None where rows stand in it already."""
    late = (known[1:] < known[:-1]) & (code[1:] == code[:-1])
    return np.lexsort((known, code)).astype(np.int64) if late.any() else None


def _writers(rows: pl.DataFrame, fields: Sequence[str]) -> list[tuple[list[str], Flags]]:
    """Which rows write which fields; all alike where every version is a full image or a tombstone."""
    partial = rows["changed_fields"].is_not_null() & ~rows["is_tombstone"]
    if not partial.any():
        return [(list(fields), (~rows["is_tombstone"]).to_numpy())]
    written = rows.select(writes_field(field).alias(field) for field in fields)
    return [([field], written[field].to_numpy()) for field in fields]


def _collapsed(
    rows: pl.DataFrame, first: Ints, moments: tuple[Ints, Ints], newest: Ints, winners: dict[str, Ints]
) -> Steps:
    """Leaves out the steps, of (entity, moment), at which no register shows another version."""
    who, at = moments
    moves = np.ones(len(who), dtype=np.bool_)
    distinct = {id(array): array for array in (newest, *winners.values())}
    if len(who):
        moves[1:] = who[1:] != who[:-1]
        for array in distinct.values():
            moves[1:] |= array[1:] != array[:-1]
    kept = {key: array[moves] for key, array in distinct.items()}
    who, at = who[moves], at[moves]
    until = np.full(len(who), FOREVER, dtype=np.int64)
    until[:-1] = np.where(who[1:] == who[:-1], at[1:], FOREVER)
    return Steps(
        rows=rows,
        ids=rows["entity_id"].gather(pl.Series(first)),
        entity=who,
        since=at,
        until=until,
        newest=kept[id(newest)],
        winners={field: kept[id(array)] for field, array in winners.items()},
    )
