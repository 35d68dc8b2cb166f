"""Reading the lake: Delta tables under one root, opened lazily at one version.

Nothing here commits; that is `store`'s. Layouts stand in `tables`.
"""

import re
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from crm_platform.lake.errors import LayoutError, SchemaChangeError, TableMissingError, TableUnreadableError
from crm_platform.lake.tables import layout_of

_VERSION = re.compile(r"\d{20}\..*(json|parquet)$")

HELD = 100
"""How many versions of tables are kept open for reading."""

Stamp = tuple[int, int]
"""A file's number and the time of its last change."""

Part = date | int | str
"""A partition's value: a day, or the number of an entity range."""


class Tables:
    """The tables of a lake as they can be read; see `Lake`.

    Args:
        root: Where the tables lie.
        storage_options: What the object store needs; None for a folder.
        metadata: What every commit says of its origin, such as run id and code version. No secrets.
    """

    def __init__(
        self,
        root: str | Path,
        storage_options: Mapping[str, str] | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.root = str(root) if "://" in str(root) else str(Path(root).absolute())
        self.storage_options = dict(storage_options) if storage_options else None
        self.metadata = dict(metadata or {})
        self._held: dict[tuple[str, int], tuple[Stamp, DeltaTable]] = {}
        self._files: dict[tuple[str, int], tuple[Stamp, pl.DataFrame]] = {}
        self._newest: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Lake({self.root!r})"

    def uri(self, table: str) -> str:
        """Where a table lies.

        Raises:
            TableNameError: No layout fits the name.
        """
        layout_of(table)
        return f"{self.root}/{table}"

    def folder(self, name: str) -> Path:
        """A folder under the root for files that are no tables, such as kept exports; made if need be.

        Raises:
            LayoutError: The root is an object store.
        """
        if "://" in self.root:
            raise LayoutError.remote_folder(self.root, name)
        path = Path(self.root, name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def exists(self, table: str) -> bool:
        """Whether the table has a version."""
        return self.look(table) is not None

    def version(self, table: str) -> int | None:
        """The table's version, None if it does not exist."""
        opened = self.look(table)
        return None if opened is None else opened.version()

    def schema(self, table: str) -> pl.Schema | None:
        """The table's columns and types, None if it does not exist."""
        opened = self.look(table)
        return None if opened is None else pl.scan_delta(opened).collect_schema()

    def tables(self) -> list[str]:
        """The names of all tables under a local root, sorted; empty before the first commit.

        Raises:
            LayoutError: The root is an object store, whose tables cannot be listed here.
        """
        found = self.folder(".").rglob("_delta_log")
        return sorted(log.parent.relative_to(self.root).as_posix() for log in found)

    def files(self, table: str, days: Collection[Part] | None = None, version: int | None = None) -> list[str]:
        """Where the files of the table's newest version, or an older one, lie: all or those of some partitions, sorted."""
        opened = self.look(table, version)
        if opened is None or (days is not None and not days):
            return []
        if days is None:
            return sorted(opened.file_uris())
        partition = partition_of(table)
        wanted = [(partition, "in", [str(day) for day in days])]
        return sorted(opened.file_uris(file_pruning_predicate=wanted))

    def days(self, table: str, version: int | None = None) -> list[Part]:
        """The partitions that hold rows, sorted; read from the log, of the newest version or an older one."""
        name = f"partition.{partition_of(table)}"
        actions = self.file_facts(table, version)
        return actions.get_column(name).unique().sort().to_list() if name in actions.columns else []

    def rows_by_day(self, table: str) -> dict[Part, int]:
        """How many rows every partition holds; read from the log."""
        name = f"partition.{partition_of(table)}"
        actions = self.file_facts(table)
        if name not in actions.columns:
            return {}
        return dict(actions.group_by(name).agg(pl.col("num_records").sum()).sort(name).iter_rows())

    def rows(self, table: str, version: int | None = None) -> int:
        """How many rows the table holds, in its newest version or an older one; read from the log."""
        opened = self.look(table, version)
        return 0 if opened is None else int(opened.count())

    def scan(
        self,
        table: str,
        *,
        days: Collection[Part] | None = None,
        without: Collection[Part] = (),
        schema: pl.Schema | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """The table's rows, pinned to the version found now; other partitions' files are not opened.

        Args:
            table: Such as `history/opportunity`.
            days: Only these partitions; None for all.
            without: None of these partitions.
            schema: What the caller expects: the result has exactly these columns, those the table lacks are null, and
                a table that does not exist is an empty frame.
            version: An older version of the table; None for the newest.

        Raises:
            TableMissingError: The table does not exist and no schema was given.
            TableUnreadableError: The table is there but cannot be read.
            SchemaChangeError: A column has another type than the caller expects.
        """
        opened = self.look(table, version)
        if opened is None:
            if schema is None:
                raise TableMissingError.nothing_at(table, self.uri(table))
            return pl.LazyFrame(schema=schema)
        frame = pl.scan_delta(opened, storage_options=self.storage_options)
        if days is not None:
            frame = frame.filter(pl.col(partition_of(table)).is_in(list(days)))
        if without:
            frame = frame.filter(~pl.col(partition_of(table)).is_in(list(without)))
        return frame if schema is None else _expected(table, frame, schema)

    def look(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The Delta table for reading alone, opened once per version as long as nothing newer is there.

        Opening costs more with every file a table has. Whoever writes opens its own, with `open`: what is written
        through moves on to the version written, under the eyes of everybody who still reads.

        Raises:
            TableUnreadableError: The table is there but cannot be read.
        """
        at = self._newest_held(table) if version is None else version
        held = None if at is None else self._held.get((table, at))
        if held is not None and at is not None and held[0] == self._stamp(table, at):
            return held[1]
        opened = self.open(table, version)
        if opened is not None:
            self.hold(table, opened, is_newest=version is None)
        return opened

    def file_facts(self, table: str, version: int | None = None) -> pl.DataFrame:
        """What the log says of every file of a version: path, partition, rows, bounds; no column if there is no table."""
        opened = self.look(table, version)
        if opened is None:
            return pl.DataFrame()
        at = opened.version()
        stamp, known = self._stamp(table, at), self._files.get((table, at))
        if known is not None and known[0] == stamp:
            return known[1]
        facts = pl.DataFrame(opened.get_add_actions(flatten=True))
        if stamp is not None:
            if len(self._files) >= HELD:
                self._files.pop(next(iter(self._files)), None)
            self._files[table, at] = stamp, facts
        return facts

    def hold(self, table: str, opened: DeltaTable, *, is_newest: bool) -> None:
        """Keeps an opened table that nobody will write through any more, for those who look."""
        at = opened.version()
        stamp = self._stamp(table, at)
        if stamp is None:
            return
        if len(self._held) >= HELD:
            self._held.pop(next(iter(self._held)), None)
        self._held[table, at] = stamp, opened
        if is_newest:
            self._newest[table] = at

    def _newest_held(self, table: str) -> int | None:
        """The newest version of a table if it is held already."""
        at = self._newest.get(table)
        return at if at is not None and self._stamp(table, at + 1) is None else None

    def _stamp(self, table: str, version: int) -> Stamp | None:
        """What tells one commit's file from any other of its name; None where there is none, or no local file."""
        if "://" in self.root:
            return None
        try:
            found = Path(self.root, table, "_delta_log", f"{version:020}.json").stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns

    def open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The Delta table itself, opened anew, for this room's own writing; None if it does not exist.

        Raises:
            TableUnreadableError: The table is there but cannot be read.
        """
        found = self._found(table, version)
        if found is None and self._has_log(table):
            found = self._found(table, version)  # somebody may have made it just now
            if found is None:
                raise TableUnreadableError.broken(table, self.uri(table), FileNotFoundError("its log has a hole"))
        return found

    def _found(self, table: str, version: int | None) -> DeltaTable | None:
        uri = self.uri(table)
        try:
            return DeltaTable(uri, version=version, storage_options=self.storage_options)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as broken:
            raise TableUnreadableError.broken(table, uri, broken) from broken

    def _has_log(self, table: str) -> bool:
        if "://" in self.root:
            return False
        return any(_VERSION.match(entry.name) for entry in Path(self.root, table, "_delta_log").glob("*"))


def partition_of(table: str) -> str:
    """The column a table is partitioned by.

    Raises:
        LayoutError: It is not partitioned.
    """
    partition = layout_of(table).partition
    if partition is None:
        raise LayoutError.whole(table)
    return partition


def _expected(table: str, frame: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    held = frame.collect_schema()
    changes = {name: (held[name], dtype) for name, dtype in schema.items() if name in held and held[name] != dtype}
    if changes:
        raise SchemaChangeError.retyped(table, changes)
    lacking = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in held]
    return frame.with_columns(lacking).select(list(schema))
