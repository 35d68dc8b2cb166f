"""What the log of a table tells without its rows: which partitions changed, and what a commit claimed.

Reads logs, and rows only of partitions that changed between two versions. What follows from a change is decided above.
"""

import hashlib
from collections.abc import Mapping
from datetime import date

import polars as pl

from crm_platform.lake.commit import Commit, until_committed
from crm_platform.lake.errors import TableMissingError, TableUnreadableError
from crm_platform.lake.lost import UNREADABLE
from crm_platform.lake.reading import Tables, partition_of
from crm_platform.lake.store import Lake

RECENT = 20
"""How many commits are looked through before the whole log is."""


def told(lake: Tables, table: str, name: str) -> tuple[str, int] | None:
    """What the newest commit that says something under a name says, and its version; None if no commit does."""
    opened = lake.look(table)
    if opened is None:
        return None
    for limit in (RECENT, None):
        for commit in opened.history(limit):
            if name in commit:
                return str(commit[name]), int(commit["version"])
    return None


def note(lake: Lake, table: str, metadata: Mapping[str, str], schema: pl.Schema | None = None) -> Commit:
    """Says something in a commit of its own, which changes no row.

    Args:
        lake: The lake.
        table: The table.
        metadata: What to say.
        schema: With it, a table that does not exist is made, empty.

    Raises:
        TableMissingError: There is no such table, and no schema was given.
        CommitConflictError: Other writers kept winning.
    """

    def attempt() -> Commit:
        opened = lake.open(table)
        if opened is None and schema is None:
            raise TableMissingError.nothing_at(table, lake.uri(table))
        nothing = (
            pl.DataFrame(schema=schema)
            if opened is None
            else pl.scan_delta(opened, storage_options=lake.storage_options).head(0).collect()
        )
        return lake.commit(table, opened, nothing, metadata=metadata)

    return until_committed(table, attempt)


def changed_days(lake: Tables, table: str, since: int | None, until: int | None) -> list[date] | None:
    """The days whose files differ between two versions of a table, in order; read from the log.

    Args:
        lake: The lake.
        table: A table that is partitioned by day.
        since: The older version; None for before the table was made.
        until: The newer version; None for before the table was made.

    Returns:
        The days; None if a version's log is gone.
    """
    if since == until:
        return []
    try:
        before, after = _files(lake, table, since), _files(lake, table, until)
    except TableUnreadableError:
        return None
    either = pl.concat([before, after]).unique(keep="none")
    return either["day"].unique().sort().to_list()


def differing(
    lake: Tables, table: str, versions: tuple[int | None, int | None], days: list[date], schema: pl.Schema
) -> pl.DataFrame | None:
    """The rows of some days that one version of a table holds more often than the other, as far as columns go.

    Args:
        lake: The lake.
        table: The table.
        versions: The two versions; None for before the table was made.
        days: The days to compare.
        schema: The columns that matter.

    Returns:
        The rows in these columns, each once; None if files of a version are gone.
    """
    sides = [
        lake.scan(table, days=days, schema=schema, version=version).with_columns(pl.lit(sign).alias("_more"))
        for version, sign in zip(versions, (-1, 1), strict=True)
        if version is not None
    ]
    if not sides or not days:
        return pl.DataFrame(schema=schema)
    row = pl.struct(sorted(schema))
    hashed = [row.hash(seed).alias(f"_row{seed}") for seed in (7, 1_000_003)]
    netted = (
        pl.concat(sides)
        .with_columns(hashed)
        .group_by("_row7", "_row1000003")
        .agg(pl.col("_more").sum(), *(pl.col(name).first() for name in schema))
        .filter(pl.col("_more") != 0)
        .select(list(schema))
    )
    try:
        return netted.collect()
    except UNREADABLE:
        return None


def files_digest(lake: Tables, table: str, version: int | None, before: date) -> str:
    """What stands for the files of all days before one: while it is the same, so are their rows."""
    files = _files(lake, table, version).filter(pl.col("day") < before)
    return hashlib.sha256("\n".join(files["path"].sort()).encode()).hexdigest()


def _files(lake: Tables, table: str, version: int | None) -> pl.DataFrame:
    """Path and day of every file of a version."""
    facts = pl.DataFrame() if version is None else lake.file_facts(table, version)
    day = f"partition.{partition_of(table)}"
    if day not in facts.columns:
        return pl.DataFrame(schema={"path": pl.String, "day": pl.Date})
    return facts.select("path", pl.col(day).alias("day"))
