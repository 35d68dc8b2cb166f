"""Questions in SQL, answered by DuckDB: over the lake's tables, over frames, over JSON text. Sessions live in UTC.

Nothing here writes; what is asked is decided by the rooms above.
"""

from collections.abc import Sequence
from functools import cache

import duckdb
import polars as pl

from crm_platform.lake.errors import TableMissingError
from crm_platform.lake.reading import Part
from crm_platform.lake.store import Lake
from crm_platform.lake.tables import layout_of

_SQL_TYPES = {"day": "DATE", "entity_range": "BIGINT"}


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB session in memory whose time zone is UTC, whatever the machine's is; close it, or use it in a `with`.

    Sessions of one process share an engine: making one costs next to nothing, but tables made in one are seen in all.
    """
    session = _engine().cursor()
    session.execute("SET TimeZone = 'UTC'")
    return session


@cache
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:")


def query(
    sql: str,
    *,
    lake: Lake | None = None,
    version: int | None = None,
    days: Sequence[Part] | None = None,
    **tables: str | pl.DataFrame,
) -> pl.DataFrame:
    """The answer to a SQL query over tables and frames.

    Args:
        sql: Names its inputs as the keywords do.
        lake: Where the tables lie that are given by name.
        version: Of the one table that is given by name; None for the newest of every one.
        days: The partitions of it to read; None for all. A column that none of their files has is not there.
        tables: Each a frame, or the name of a table of the lake, read from its version's files.

    Raises:
        TableMissingError: A named table does not exist.
    """
    with connect() as session:
        for name, given in tables.items():
            if isinstance(given, pl.DataFrame):
                session.register(name, given.to_arrow(compat_level=pl.CompatLevel.oldest()))
            elif lake is not None:
                _view(session, name, lake, given, version=version, days=days)
        return pl.DataFrame(session.sql(sql).to_arrow_table())


def rows_in_files(lake: Lake, table: str, version: int | None = None) -> int:
    """How many rows DuckDB counts in the files of a table; costs a look at each file's end, whatever its columns.

    Args:
        lake: Where the table lies.
        table: The table.
        version: Of the table; None for the newest.

    Raises:
        TableMissingError: The table does not exist.
    """
    files = [] if "://" in lake.root else lake.files(table, version=version)
    if not files:
        return int(query("SELECT count(*) AS rows FROM told", lake=lake, version=version, told=table)["rows"].item())
    with connect() as session:
        return session.execute("SELECT count(*) FROM read_parquet(?)", [files]).fetchall()[0][0]


def json_fields(texts: pl.Series, names: Sequence[str]) -> pl.DataFrame:
    """What JSON objects say under some keys, without deciding what it means.

    Args:
        texts: JSON text, one object per row; anything else is told apart by `is_object`.
        names: Keys at the first level.

    Returns:
        One row per text, in order: `is_object`; `keys` (all of them, duplicates included); per name `kind:<name>` (the
        JSON kind in DuckDB's words, null where the key is absent; `TEXTS` for an array of nothing but text and nulls)
        and `text:<name>` (strings unescaped, everything else as written, null for an absent key and for null).
    """
    paths = [f"/{name.replace('~', '~0').replace('/', '~1')}" for name in names]
    told = texts.alias("told").to_frame().with_row_index("nr")
    with connect() as session:
        session.register("told", told.to_arrow(compat_level=pl.CompatLevel.oldest()))
        answer = session.sql(_FIELDS, params={"paths": paths}).to_arrow_table()
    found = pl.DataFrame(answer).sort("nr")
    return found.select(
        "is_object",
        "keys",
        *(pl.col("kinds").list.get(i, null_on_oob=True).alias(f"kind:{name}") for i, name in enumerate(names)),
        *(pl.col("texts").list.get(i, null_on_oob=True).alias(f"text:{name}") for i, name in enumerate(names)),
    )


_FIELDS = """
WITH object AS (
    SELECT nr, told, coalesce(json_valid(told) AND json_type(CASE WHEN json_valid(told) THEN told END) = 'OBJECT', false)
        AS is_object
    FROM told
), read AS (
    SELECT nr, is_object, CASE WHEN is_object THEN told END AS told FROM object
), fields AS (
    SELECT nr, is_object, json_keys(told) AS keys,
        json_type(told, $paths::VARCHAR[]) AS kinds, json_extract_string(told, $paths::VARCHAR[]) AS texts
    FROM read
)
SELECT nr, is_object, keys, texts,
    list_transform(list_zip(kinds, texts), lambda pair: CASE
        WHEN pair[1] = 'ARRAY' AND len(list_filter(json_type(pair[2], '$[*]'), lambda kind: kind NOT IN ('VARCHAR', 'NULL'))) = 0
        THEN 'TEXTS' ELSE pair[1] END) AS kinds
FROM fields
"""


def _view(
    session: duckdb.DuckDBPyConnection,
    name: str,
    lake: Lake,
    table: str,
    *,
    version: int | None,
    days: Sequence[Part] | None,
) -> None:
    opened, files = lake.look(table, version), lake.files(table, days, version)
    if opened is None:
        raise TableMissingError.nothing_at(table, lake.uri(table))
    partition = layout_of(table).partition
    if "://" in lake.root or not files:
        wanted = None if days is None else [(partition or "", "in", [str(day) for day in days])]
        session.register(name, opened.to_pyarrow_dataset(file_pruning_predicate=wanted))
        return
    sql_type = _SQL_TYPES.get(partition or "", _SQL_TYPES["day"])
    typed = f", hive_types = {{'{partition}': {sql_type}}}" if partition else ""
    named = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    session.execute(
        f"CREATE TEMP VIEW {name} AS SELECT * FROM read_parquet([{named}], union_by_name = true, "  # noqa: S608  our own names
        f"hive_partitioning = {str(partition is not None).lower()}{typed})"
    )
