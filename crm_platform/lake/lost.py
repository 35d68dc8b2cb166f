"""Files that a table's log names and that cannot be read: missing, cut, or no Parquet.

What is derived is derived again: `store` takes a partition that cannot be read for one that differs. What landed is not;
its table can only be made to forget the files, which `landing.lost` and people decide.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from os import SEEK_END
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl

from crm_platform.lake.commit import properties
from crm_platform.lake.reading import Part, Tables
from crm_platform.lake.tables import is_table, layout_of

UNREADABLE = (OSError, pl.exceptions.ComputeError, pl.exceptions.PanicException)
"""What reading a file that is missing, broken or cut raises; it may mean something else, so ask `lost_files` then."""
ASIDE = "aside"
"""The folder under the lake's root where broken files lie that their table has forgotten."""
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class LostFile:
    """One file that cannot be read.

    Attributes:
        table: Whose file.
        part: The partition it belongs to; None for a table without.
        path: Where it lies below the table.
        why: What is wrong with it.
        rows: How many rows the log says it holds.
        since: The least processed_time in it; None where the log does not say.
        until: The greatest.
    """

    table: str
    part: Part | None
    path: str
    why: str
    rows: int
    since: datetime | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        """The file for people."""
        return f"{self.table}/{self.path} {self.why} ({self.rows:,} rows)"


def lost_files(
    lake: Tables, table: str, parts: Collection[Part] | None = None, *, decode: bool = False
) -> list[LostFile]:
    """The files of a table's newest version that cannot be read, by path.

    Costs a look at every file. In an object store, where a file is there as a whole or not at all, one listing.

    Args:
        lake: Where the table lies.
        table: The table; one that does not exist, or is kept in another way, has lost nothing.
        parts: Only the files of these partitions; None for all.
        decode: Whether to read every file to its end, too: what is broken inside shows only then.
    """
    if not is_table(table):
        return []
    partition = layout_of(table).partition
    facts = lake.file_facts(table)
    if facts.is_empty():
        return []
    if partition is not None and parts is not None:
        facts = facts.filter(pl.col(f"partition.{partition}").is_in(list(parts)))
    why = _missing_remotely(lake, table) if "://" in lake.root else None
    found: list[LostFile] = []
    for row in facts.sort("path").iter_rows(named=True):
        path = unquote(row["path"])
        wrong = _wrong(Path(lake.root, table, path), row["size_bytes"], decode=decode) if why is None else why.get(path)
        if wrong is not None:
            found.append(_lost(table, path, wrong, row, partition))
    return found


def first_lost(lake: Tables, table: str) -> date | None:
    """The first day of which a file cannot be read; None if all can."""
    return min((file.part for file in lost_files(lake, table) if isinstance(file.part, date)), default=None)


def forget_lost(lake: Tables, table: str) -> list[LostFile]:
    """Takes the files that cannot be read out of a table's log, in one commit; says which they were.

    What is there and broken is moved to `aside` below the root, not removed.
    """
    found = lost_files(lake, table, decode=True)
    opened = lake.open(table)
    if not found or opened is None:
        return []
    for file in found:
        broken = Path(lake.root, table, file.path)
        if "://" not in lake.root and broken.exists():
            aside = Path(lake.folder(f"{ASIDE}/{table}"), broken.name)
            broken.rename(aside)
    opened.repair(commit_properties=properties(lake.metadata))
    return found


def _lost(table: str, path: str, why: str, row: dict[str, Any], partition: str | None) -> LostFile:
    return LostFile(
        table=table,
        part=None if partition is None else row[f"partition.{partition}"],
        path=path,
        why=why,
        rows=row.get("num_records") or 0,
        since=row.get("min.processed_time"),
        until=row.get("max.processed_time"),
    )


def _wrong(path: Path, size: int, *, decode: bool) -> str | None:
    """What is wrong with a local file; None if nothing is."""
    try:
        found = path.stat().st_size
        if found != size:
            return f"has {found:,} of {size:,} bytes"
        if set(_ends(path)) != {_MAGIC}:
            return "is no Parquet file"
    except FileNotFoundError:
        return "is missing"
    if decode:
        try:
            pl.read_parquet(path, hive_partitioning=False)
        except UNREADABLE:
            return "is broken inside"
    return None


def _ends(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield file.read(len(_MAGIC))
        file.seek(-len(_MAGIC), SEEK_END)
        yield file.read(len(_MAGIC))


def _missing_remotely(lake: Tables, table: str) -> dict[str, str]:
    opened = lake.open(table)
    gone = [] if opened is None else opened.repair(dry_run=True)["files_removed"]
    return {unquote(path): "is missing" for path in gone}
