"""The lake: Delta tables under one root, read lazily and written in single atomic commits.

Here are reads, appends and replacements of tables. Layouts stand in `tables`, content and types in `content`, the
retry of lost commits in `commit`; what the tables mean is known to the rooms above.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from crm_platform.lake.commit import CONFIGURATION, WRITER, Commit, properties, until_committed
from crm_platform.lake.content import aligned, as_stored, fingerprint, fingerprints_by
from crm_platform.lake.errors import (
    LayoutError,
    RowsOutsideError,
    SchemaChangeError,
    TableMissingError,
    TableUnreadableError,
)
from crm_platform.lake.tables import Layout, layout_of

Part = date | int | str
"""A partition's value: a day, or the number of an entity range."""


class Lake:
    """Delta tables under one root, a folder or an object store's URL.

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
        return self.open(table) is not None

    def version(self, table: str) -> int | None:
        """The table's version, None if it does not exist."""
        opened = self.open(table)
        return None if opened is None else opened.version()

    def schema(self, table: str) -> pl.Schema | None:
        """The table's columns and types, None if it does not exist."""
        opened = self.open(table)
        return None if opened is None else pl.scan_delta(opened).collect_schema()

    def landed(self, table: str, token: str) -> bool:
        """Whether a commit with this token is in the table."""
        opened = self.open(table)
        return opened is not None and opened.transaction_version(token) is not None

    def tables(self) -> list[str]:
        """The names of all tables under a local root, sorted; empty before the first commit.

        Raises:
            LayoutError: The root is an object store, whose tables cannot be listed here.
        """
        found = self.folder(".").rglob("_delta_log")
        return sorted(log.parent.relative_to(self.root).as_posix() for log in found)

    def files(self, table: str, days: Collection[Part] | None = None) -> list[str]:
        """Where the files of the table's newest version lie, all or those of some partitions, sorted."""
        opened = self.open(table)
        if opened is None or (days is not None and not days):
            return []
        if days is None:
            return sorted(opened.file_uris())
        partition = _partition_of(table)
        wanted = [(partition, "in", [str(day) for day in days])]
        return sorted(opened.file_uris(file_pruning_predicate=wanted))

    def days(self, table: str) -> list[Part]:
        """The partitions that hold rows, sorted; read from the log."""
        opened = self.open(table)
        if opened is None:
            return []
        name = f"partition.{_partition_of(table)}"
        actions = pl.DataFrame(opened.get_add_actions(flatten=True))
        return actions.get_column(name).unique().sort().to_list() if name in actions.columns else []

    def rows_by_day(self, table: str) -> dict[Part, int]:
        """How many rows every partition holds; read from the log."""
        opened = self.open(table)
        if opened is None:
            return {}
        name = f"partition.{_partition_of(table)}"
        actions = pl.DataFrame(opened.get_add_actions(flatten=True))
        if name not in actions.columns:
            return {}
        return dict(actions.group_by(name).agg(pl.col("num_records").sum()).sort(name).iter_rows())

    def rows(self, table: str) -> int:
        """How many rows the table holds; read from the log."""
        opened = self.open(table)
        return 0 if opened is None else int(opened.count())

    def scan(
        self,
        table: str,
        *,
        days: Collection[Part] | None = None,
        schema: pl.Schema | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """The table's rows, pinned to the version found now; other partitions' files are not opened.

        Args:
            table: Such as `history/opportunity`.
            days: Only these partitions; None for all.
            schema: What the caller expects: the result has exactly these columns, those the table lacks are null, and
                a table that does not exist is an empty frame.
            version: An older version of the table; None for the newest.

        Raises:
            TableMissingError: The table does not exist and no schema was given.
            TableUnreadableError: The table is there but cannot be read.
            SchemaChangeError: A column has another type than the caller expects.
        """
        opened = self.open(table, version)
        if opened is None:
            if schema is None:
                raise TableMissingError.nothing_at(table, self.uri(table))
            return pl.LazyFrame(schema=schema)
        frame = pl.scan_delta(opened, storage_options=self.storage_options)
        if days is not None:
            frame = frame.filter(pl.col(_partition_of(table)).is_in(list(days)))
        return frame if schema is None else _expected(table, frame, schema)

    def append(
        self, table: str, frame: pl.DataFrame | pl.LazyFrame, *, token: str, metadata: Mapping[str, str] | None = None
    ) -> Commit | None:
        """Adds rows in one commit, once per token.

        Args:
            table: Such as `landing/changes/opportunity`.
            frame: Typed rows; columns the table lacks are added to it, those it lacks itself are null.
            token: Names the rows' batch: a second append with it, from anywhere, does nothing.
            metadata: Said in this commit beside the lake's own.

        Returns:
            The commit; None for an empty frame, or where the token is already in the table.

        Raises:
            SchemaChangeError: A column would be retyped, or cannot be stored.
            RowsOutsideError: A row has no partition.
            CommitConflictError: Other writers kept winning.
        """
        ready = as_stored(table, _collected(frame))
        if ready.is_empty():
            return None
        layout = layout_of(table)
        days = _days_in(table, layout, ready)

        def attempt() -> Commit | None:
            opened = self.open(table)
            if opened is not None and opened.transaction_version(token) is not None:
                return None
            fitted = ready if opened is None else aligned(table, ready, _held(opened), may_lack=True)
            return self._write(table, layout, opened, fitted, days, mode="append", token=(token, 1), metadata=metadata)

        return until_committed(table, attempt)

    def replace(
        self,
        table: str,
        frame: pl.DataFrame | pl.LazyFrame,
        *,
        days: Iterable[Part],
        metadata: Mapping[str, str] | None = None,
    ) -> Commit | None:
        """Makes some partitions hold exactly these rows, in one commit.

        Partitions whose content is equal, whatever the order of rows, keep their files; if all are, nothing is
        committed. All other partitions are untouched.

        Args:
            table: Such as `history/opportunity`.
            frame: All rows of the partitions; those without rows become empty.
            days: The partitions to replace.
            metadata: Said in this commit beside the lake's own.

        Raises:
            LayoutError: The table is append-only, or has no partitions.
            RowsOutsideError: A row lies outside the partitions.
            SchemaChangeError: A column would be retyped or removed, or cannot be stored.
            CommitConflictError: Other writers kept winning.
        """
        layout = layout_of(table)
        partition = _partition_of(table)
        if layout.append_only:
            raise LayoutError.append_only(table)
        wanted = sorted(set(days))  # pyright: ignore[reportArgumentType]  the parts of one table have one type
        ready = as_stored(table, _collected(frame))
        _days_in(table, layout, ready)
        _refuse_outside(table, partition, ready, wanted)
        if not wanted:
            return None

        def attempt() -> Commit | None:
            opened = self.open(table)
            if opened is None and ready.is_empty():
                return None
            fitted = ready if opened is None else aligned(table, ready, _held(opened), may_lack=False)
            changed = self._changed(opened, fitted, partition, wanted)
            if not changed:
                return None
            rows = fitted.filter(pl.col(partition).is_in(changed))
            if opened is None:
                return self._write(table, layout, None, rows, changed, mode="append", token=None, metadata=metadata)
            predicate = _predicate(partition, changed)
            if rows.is_empty():
                opened.delete(predicate, commit_properties=properties({**self.metadata, **(metadata or {})}))
                return Commit(table, opened.version(), 0, tuple(changed))
            return self._write(
                table,
                layout,
                opened,
                rows,
                changed,
                mode="overwrite",
                token=None,
                predicate=predicate,
                metadata=metadata,
            )

        return until_committed(table, attempt)

    def overwrite(
        self, table: str, frame: pl.DataFrame | pl.LazyFrame, *, metadata: Mapping[str, str] | None = None
    ) -> Commit | None:
        """Makes an unpartitioned table hold exactly these rows, with these columns; equal content commits nothing.

        Raises:
            LayoutError: The table is append-only, or partitioned.
            SchemaChangeError: A column cannot be stored.
            CommitConflictError: Other writers kept winning.
        """
        layout = layout_of(table)
        if layout.append_only:
            raise LayoutError.append_only(table)
        if layout.partition is not None:
            raise LayoutError.partitioned(table, layout.partition)
        ready = as_stored(table, _collected(frame))

        def attempt() -> Commit | None:
            opened = self.open(table)
            if opened is None and ready.is_empty():
                return None
            if opened is not None:
                held = pl.scan_delta(opened, storage_options=self.storage_options)
                if held.collect_schema() == ready.schema and fingerprint(held) == fingerprint(ready):
                    return None
            return self._write(table, layout, opened, ready, [], mode="overwrite", token=None, metadata=metadata)

        return until_committed(table, attempt)

    def open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The Delta table itself, for this room's own use; None if it does not exist.

        Raises:
            TableUnreadableError: The table is there but cannot be read.
        """
        uri = self.uri(table)
        try:
            return DeltaTable(uri, version=version, storage_options=self.storage_options)
        except TableNotFoundError as missing:
            if self._has_log(table):
                raise TableUnreadableError.broken(table, uri, missing) from missing
            return None
        except (DeltaError, OSError) as broken:
            raise TableUnreadableError.broken(table, uri, broken) from broken

    def _has_log(self, table: str) -> bool:
        if "://" in self.root:
            return False
        log = Path(self.root, table, "_delta_log")
        return log.is_dir() and any(entry.suffix in {".json", ".parquet"} for entry in log.iterdir())

    def _changed(self, opened: DeltaTable | None, frame: pl.DataFrame, partition: str, days: list[Any]) -> list[Any]:
        new = fingerprints_by(frame, partition, frame.columns)
        if opened is None:
            return [day for day in days if day in new]
        held = pl.scan_delta(opened, storage_options=self.storage_options).filter(pl.col(partition).is_in(days))
        names = held.collect_schema().names()
        added = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in frame.schema.items() if name not in names]
        old = fingerprints_by(held.with_columns(added), partition, frame.columns)
        return [day for day in days if new.get(day) != old.get(day)]

    def _write(
        self,
        table: str,
        layout: Layout,
        opened: DeltaTable | None,
        frame: pl.DataFrame,
        days: list[Any],
        *,
        mode: str,
        token: tuple[str, int] | None,
        predicate: str | None = None,
        metadata: Mapping[str, str] | None,
    ) -> Commit:
        partitions = [layout.partition] if layout.partition else []
        order = [*partitions, *(name for name in layout.sort if name in frame.columns)]
        ordered = frame.sort(order, nulls_last=False, maintain_order=True) if order else frame
        write_deltalake(
            opened if opened is not None else self.uri(table),
            ordered.to_arrow(compat_level=pl.CompatLevel.oldest()),
            partition_by=partitions or None,
            mode="error" if opened is None else mode,  # pyright: ignore[reportArgumentType]
            schema_mode=None if opened is None else ("merge" if mode == "append" or predicate else "overwrite"),
            predicate=predicate,
            configuration=CONFIGURATION if opened is None else None,
            storage_options=self.storage_options,
            writer_properties=WRITER,
            commit_properties=properties({**self.metadata, **(metadata or {})}, token),
        )
        version = opened.version() if opened is not None else 0
        return Commit(table, version, frame.height, tuple(days))


def _collected(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming") if isinstance(frame, pl.LazyFrame) else frame


def _held(opened: DeltaTable) -> Mapping[str, pl.DataType]:
    return pl.scan_delta(opened).collect_schema()


def _partition_of(table: str) -> str:
    partition = layout_of(table).partition
    if partition is None:
        raise LayoutError.whole(table)
    return partition


def _days_in(table: str, layout: Layout, frame: pl.DataFrame) -> list[Any]:
    if layout.partition is None:
        return []
    if layout.partition not in frame.columns:
        raise SchemaChangeError.unpartitioned(table, layout.partition)
    homeless = frame.get_column(layout.partition).null_count()
    if homeless:
        raise RowsOutsideError.found(table, layout.partition, homeless, None)
    return frame.get_column(layout.partition).unique().sort().to_list()


def _refuse_outside(table: str, partition: str, frame: pl.DataFrame, days: list[Any]) -> None:
    outside = frame.filter(~pl.col(partition).is_in(days)) if days else frame
    if not outside.is_empty():
        raise RowsOutsideError.found(table, partition, outside.height, outside.get_column(partition).min())


def _predicate(partition: str, days: list[Any]) -> str:
    return f"{partition} IN ({', '.join(_literal(day) for day in days)})"


def _literal(day: Part) -> str:
    if isinstance(day, date):
        return f"DATE '{day.isoformat()}'"
    if isinstance(day, int):
        return str(day)
    return "'" + day.replace("'", "''") + "'"


def _expected(table: str, frame: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    held = frame.collect_schema()
    changes = {name: (held[name], dtype) for name, dtype in schema.items() if name in held and held[name] != dtype}
    if changes:
        raise SchemaChangeError.retyped(table, changes)
    lacking = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in held]
    return frame.with_columns(lacking).select(list(schema))
