"""Files that a table's log names and that cannot be read: missing, cut, or no Parquet.

What is derived is derived again: `store` takes a partition that cannot be read for one that differs. What landed is not;
its table can only be made to forget the files, which `landing.lost` and people decide.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from os import SEEK_END, pread
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
    files = facts.select("path", "size_bytes").iter_rows()
    if "://" in lake.root:
        gone = _missing_remotely(lake, table)
        wrong = {path: "is missing" for path, _ in files if unquote(path) in gone}
    else:
        folder = f"{lake.root}/{table}/"
        looked = ((path, _wrong(folder + unquote(path), size, decode=decode)) for path, size in files)
        wrong = {path: why for path, why in looked if why is not None}
    broken = facts.filter(pl.col("path").is_in(list(wrong))).sort("path") if wrong else facts.clear()
    return [
        _lost(table, unquote(row["path"]), wrong[row["path"]], row, partition) for row in broken.iter_rows(named=True)
    ]


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


def _wrong(path: str, size: int, *, decode: bool) -> str | None:
    """What is wrong with a local file; None if nothing is."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - of thousands of files, a Path of each is half the cost
            found = file.seek(0, SEEK_END)
            if found != size:
                return f"has {found:,} of {size:,} bytes"
            if {pread(file.fileno(), len(_MAGIC), place) for place in (0, max(size - len(_MAGIC), 0))} != {_MAGIC}:
                return "is no Parquet file"
    except FileNotFoundError:
        return "is missing"
    if decode:
        try:
            pl.read_parquet(path, hive_partitioning=False)
        except UNREADABLE:
            return "is broken inside"
    return None


def _missing_remotely(lake: Tables, table: str) -> set[str]:
    opened = lake.open(table)
    return set() if opened is None else {unquote(path) for path in opened.repair(dry_run=True)["files_removed"]}
