"""What an object's exports looked like, day by day: a fingerprint per schema, and lines only where it changes.

A schema is the set of columns as they are read: the contract's type where every value fits it (a file of text has no
other types), else what was delivered; whether a value may be missing; and whether values came as text in a file that has
types. Neither the order of columns nor a day on which an optional column happens to be full or empty makes another schema.
Whether one keeps the contract is decided in `differences`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

import polars as pl

from crm_platform.contracts import SCHEMAS, Contract
from crm_platform.lake import Lake
from crm_platform.landing import kept_days
from crm_platform.quality.fitting import misfit

TABLE = "quality/schemas"
SHAPE = ("column", "type", "nullable", "read_from", "is_text")
MARKS = {"is_text": ", as text", "nullable": ", may be null"}
EMPTY = pl.DataFrame(schema={name: SCHEMAS[name] for name in SHAPE})


@dataclass(frozen=True)
class Stretch:
    """Exports that follow each other with one schema: which days, how many, and its columns."""

    fingerprint: str
    first_day: date
    last_day: date
    exports: int
    columns: pl.DataFrame


@dataclass(frozen=True)
class Firsts:
    """By column, the first day on which an export had it, and the first on which it came typed and not as text."""

    came: Mapping[str, date]
    typed: Mapping[str, date]


def schema_seen(contract: Contract, files: Sequence[pl.DataFrame], read_from: Mapping[str, str]) -> pl.DataFrame:
    """The schema of an export.

    Args:
        contract: What its values are held against.
        files: The rows of its files, renamed columns under the names they are read as.
        read_from: By such a name, the one that was delivered.

    Returns:
        One row per column, by name: column, type, nullable, read_from, is_text.
    """
    shown = [file for file in files if file.width]
    names = sorted({name for file in shown for name in file.columns})
    rows = [
        (
            name,
            _type(contract, name, shown),
            _nullable(contract, name, shown),
            read_from.get(name),
            _is_text(contract, name, shown),
        )
        for name in names
    ]
    return pl.DataFrame(rows, schema=EMPTY.schema, orient="row")


def expected(contract: Contract) -> pl.DataFrame:
    """The schema that a contract asks for."""
    rows = [(name, str(dtype), contract.nullable(name), None, None) for name, dtype in contract.schema.items()]
    return pl.DataFrame(rows, schema=EMPTY.schema, orient="row").sort("column")


def fingerprint_of(schema: pl.DataFrame) -> str:
    """Sixteen hex digits that two schemas share if they are equal, whatever the order of columns."""
    known = schema.select(SHAPE).with_columns(pl.col("is_text").fill_null(value=False)).sort("column")
    told = json.dumps(known.rows(), ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def recorder(
    lake: Lake, contract: Contract
) -> Callable[[date, Sequence[pl.DataFrame], Mapping[str, str], datetime], None]:
    """Remembers the schema of an object's exports: lines are written only where the one in force is another."""

    def record(day: date, files: Sequence[pl.DataFrame], read_from: Mapping[str, str], recorded_at: datetime) -> None:
        seen = schema_seen(contract, files, read_from)
        if seen.is_empty():
            return
        steps = _steps(lake, contract.object)
        force = _in_force(steps, day)
        seen = seen if force is None else _as_known(seen, force)
        if force is not None and fingerprint_of(force) == fingerprint_of(seen):
            return
        lines = [(day, seen)]
        after = next((other for other in _known_days(lake, contract.object, steps) if other > day), None)
        if after is not None and after not in steps and force is not None:
            lines.append((after, force))  # the days after it were told by what was in force before
        told = pl.concat(
            schema.with_columns(
                object=pl.lit(contract.object),
                from_day=pl.lit(since, dtype=pl.Date()),
                fingerprint=pl.lit(fingerprint_of(schema)),
                recorded_at=pl.lit(recorded_at, dtype=SCHEMAS["recorded_at"]),
            ).select(list(SCHEMAS))
            for since, schema in lines
        )
        token = f"{contract.object}:{day}:{fingerprint_of(seen)}:{recorded_at.isoformat()}"
        lake.append(TABLE, told, token=token)

    return record


def schemas_by_day(lake: Lake, object_name: str) -> dict[date, pl.DataFrame]:
    """The schema of every export of an object, landed, kept or waiting; days from before any was recorded are not told."""
    steps = _steps(lake, object_name)
    found = {day: _in_force(steps, day) for day in _known_days(lake, object_name, steps)}
    return {day: schema for day, schema in found.items() if schema is not None}


def stretches(schemas: Mapping[date, pl.DataFrame]) -> list[Stretch]:
    """Exports in the order of their days, those of one schema that follow each other taken together."""
    found: list[Stretch] = []
    for fingerprint, group in groupby(sorted(schemas), key=lambda day: fingerprint_of(schemas[day])):
        days = list(group)
        found.append(Stretch(fingerprint, days[0], days[-1], len(days), schemas[days[0]]))
    return found


def firsts_of(schemas: Mapping[date, pl.DataFrame]) -> Firsts:
    """Since when an object's exports have had each column."""
    came: dict[str, date] = {}
    typed: dict[str, date] = {}
    for stretch in stretches(schemas):
        for name, is_text in stretch.columns.select("column", "is_text").iter_rows():
            came.setdefault(name, stretch.first_day)
            if is_text is False:
                typed.setdefault(name, stretch.first_day)
    return Firsts(came, typed)


def history_of(schemas: Mapping[date, pl.DataFrame]) -> pl.DataFrame:
    """The schemas of an object's exports over time, newest first: from, to, exports, fingerprint, columns, change."""
    told = stretches(schemas)
    rows = [
        (s.first_day, s.last_day, s.exports, s.fingerprint, s.columns.height, change)
        for s, change in zip(told, ["first seen", *map(_change, told, told[1:])], strict=False)
    ]
    names = ["from", "to", "exports", "fingerprint", "columns", "change"]
    return pl.DataFrame(rows[::-1], schema=names, orient="row")


def held_against(wanted: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Two schemas side by side, columns that differ first.

    Returns:
        column, expected, actual, verdict: one row per column of either.
    """
    marks = [pl.when(mark).then(pl.lit(words)).otherwise(pl.lit("")) for mark, words in MARKS.items()]
    said = pl.concat_str("type", *marks, _origin())
    sides = [side.select("column", said.alias(name)) for side, name in ((wanted, "expected"), (seen, "actual"))]
    return (
        sides[0]
        .join(sides[1], on="column", how="full", coalesce=True)
        .with_columns(
            pl.when(pl.col("actual").is_null())
            .then(pl.lit("removed"))
            .when(pl.col("expected").is_null())
            .then(pl.lit("added"))
            .when(pl.col("expected") != pl.col("actual"))
            .then(pl.lit("differs"))
            .otherwise(pl.lit("same"))
            .alias("verdict")
        )
        .sort(pl.col("verdict") == "same", "column")
    )


def changes_between(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The columns in which two schemas differ: column, expected (before), actual (after), verdict."""
    return held_against(before, after).filter(pl.col("verdict") != "same")


def _change(before: Stretch, after: Stretch) -> str:
    """The difference of two stretches in a line."""
    signs = {"added": "+", "removed": "−"}
    told = [
        f"{signs[row['verdict']]}{row['column']}"
        if row["verdict"] in signs
        else f"{row['column']}: {row['expected']} → {row['actual']}"
        for row in changes_between(before.columns, after.columns).iter_rows(named=True)
    ]
    return "; ".join(told)


def _origin() -> pl.Expr:
    return (
        pl.when(pl.col("read_from").is_not_null())
        .then(pl.lit(", read from ") + pl.col("read_from"))
        .otherwise(pl.lit(""))
    )


def _type(contract: Contract, name: str, files: Sequence[pl.DataFrame]) -> str:
    wanted = contract.schema.get(name)
    types: set[str] = set()
    for file in files:
        if name in file.columns:
            values = file.get_column(name)
            other = str(values.dtype) if wanted is None else misfit(wanted, values)
            types.add(str(wanted) if other is None else other)
    return " | ".join(sorted(types))


def _nullable(contract: Contract, name: str, files: Sequence[pl.DataFrame]) -> bool:
    if name not in contract.columns or contract.nullable(name):
        return True
    return any(name not in file.columns or file.get_column(name).null_count() > 0 for file in files)


def _is_text(contract: Contract, name: str, files: Sequence[pl.DataFrame]) -> bool | None:
    """Whether values came as text where another type is asked for; None where no file with types has a value.

    A file of nothing but text, such as CSV, has no types.
    """
    typed = [file for file in files if any(dtype != pl.String() for dtype in file.dtypes)]
    columns = [file.get_column(name) for file in typed if name in file.columns]
    shown = [values.dtype == pl.String() for values in columns if values.null_count() < values.len()]
    if not shown:
        return None
    return name in contract.columns and contract.schema[name] != pl.String() and any(shown)


def _as_known(seen: pl.DataFrame, force: pl.DataFrame) -> pl.DataFrame:
    """The schema seen; where it does not tell whether a column comes as text, that is as it was before."""
    before = force.select("column", pl.col("is_text").alias("was_text"))
    told = seen.join(before, on="column", how="left", maintain_order="left")
    return told.with_columns(pl.coalesce("is_text", "was_text").alias("is_text")).select(SHAPE)


def _steps(lake: Lake, object_name: str) -> dict[date, pl.DataFrame]:
    """By the day from which on it holds, the schema that was last recorded for it."""
    lines = lake.scan(TABLE, schema=SCHEMAS).filter(pl.col("object") == object_name).collect()
    newest = lines.filter(pl.col("recorded_at") == pl.col("recorded_at").max().over("from_day"))
    found = newest.unique(["from_day", "column"]).partition_by("from_day", as_dict=True)
    return {day: rows.select(SHAPE).sort("column") for (day,), rows in found.items() if isinstance(day, date)}


def _known_days(lake: Lake, object_name: str, steps: Mapping[date, pl.DataFrame]) -> list[date]:
    """The days with an export of an object, in order; one whose rows all wait has lines, and else no trace."""
    landed = {day for day in lake.days(f"landing/snapshot/{object_name}") if isinstance(day, date)}
    return sorted(landed.union(kept_days(lake, object_name), steps))


def _in_force(steps: Mapping[date, pl.DataFrame], day: date) -> pl.DataFrame | None:
    since = max((step for step in steps if step <= day), default=None)
    return None if since is None else steps[since]
