"""The lake: Delta tables under one root, written in single atomic commits.

Here are appends and replacements. Reads stand in `reading`, layouts in `tables`, content and types in `content`, the
retry of lost commits in `commit`; what the tables mean is known to the rooms above.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

import polars as pl
from deltalake import DeltaTable, write_deltalake

from crm_platform.lake.commit import CONFIGURATION, WRITER, Commit, properties, until_committed
from crm_platform.lake.content import Fingerprint, aligned, as_stored, fingerprint, fingerprints_by
from crm_platform.lake.errors import LayoutError, RowsOutsideError, SchemaChangeError
from crm_platform.lake.lost import UNREADABLE, lost_files
from crm_platform.lake.reading import Part, Tables, partition_of
from crm_platform.lake.tables import Layout, layout_of

logger = logging.getLogger(__name__)


class Lake(Tables):
    """Delta tables under one root, a folder or an object store's URL.

    Args:
        root: Where the tables lie.
        storage_options: What the object store needs; None for a folder.
        metadata: What every commit says of its origin, such as run id and code version. No secrets.
    """

    def append(
        self,
        table: str,
        frame: pl.DataFrame | pl.LazyFrame,
        *,
        token: str,
        fills: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit | None:
        """Adds rows in one commit, once per token.

        Args:
            table: Such as `landing/changes/opportunity`.
            frame: Typed rows; columns the table lacks are added to it, those it lacks itself are null.
            token: Names the rows' batch: a second append with it, from anywhere, does nothing.
            fills: The rows land only while all their partitions are empty, and then even if the token has been there:
                whoever makes a table forget the files of a partition lets its batch come again.
            metadata: Said in this commit beside the lake's own.

        Returns:
            The commit; None for an empty frame, or where the batch is already in the table.

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
            before = None if opened is None else opened.transaction_version(token)
            if opened is not None and fills:
                if not set(days).isdisjoint(self.days(table, opened.version())):
                    return None
            elif before is not None:
                return None
            fitted = ready if opened is None else aligned(table, ready, _held(opened), may_lack=True)
            return self.commit(table, opened, fitted, days=days, token=(token, (before or 0) + 1), metadata=metadata)

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
        committed. One that cannot be read any more is not equal. All other partitions are untouched.

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
        ready = as_stored(table, _collected(frame))
        return self._replaced(table, days, lambda _: ready, metadata)

    def revise(
        self,
        table: str,
        change: Callable[[pl.DataFrame], pl.DataFrame],
        *,
        days: Iterable[Part],
        metadata: Mapping[str, str] | None = None,
    ) -> Commit | None:
        """Changes rows of some partitions: what `change` makes of them as they are now replaces them.

        What others add in between is not lost: the change is then made again, of the newer rows.

        Raises:
            LayoutError: The table is append-only, or has no partitions.
            RowsOutsideError: A changed row lies outside the partitions.
            SchemaChangeError: A column would be retyped or removed, or cannot be stored.
            CommitConflictError: Other writers kept winning.
        """
        wanted = list(days)

        def changed(opened: DeltaTable | None) -> pl.DataFrame | None:
            if opened is None:
                return None
            held = pl.scan_delta(opened, storage_options=self.storage_options)
            return as_stored(table, change(held.filter(pl.col(partition_of(table)).is_in(wanted)).collect()))

        return self._replaced(table, wanted, changed, metadata)

    def _replaced(
        self,
        table: str,
        days: Iterable[Part],
        content: Callable[[DeltaTable | None], pl.DataFrame | None],
        metadata: Mapping[str, str] | None,
    ) -> Commit | None:
        layout, partition = layout_of(table), partition_of(table)
        if layout.append_only:
            raise LayoutError.append_only(table)
        wanted = sorted(set(days))  # pyright: ignore[reportArgumentType]  the parts of one table have one type

        def attempt() -> Commit | None:
            opened = self.open(table)
            frame = content(opened)
            if frame is None:
                return None
            _days_in(table, layout, frame)
            _refuse_outside(table, partition, frame, wanted)
            if opened is None and frame.is_empty():
                return None
            fitted = frame if opened is None else aligned(table, frame, _held(opened), may_lack=False)
            changed = self._changed(table, opened, fitted, wanted)
            if not changed:
                return None
            rows = fitted.filter(pl.col(partition).is_in(changed))
            if opened is None:
                return self.commit(table, None, rows, days=changed, metadata=metadata)
            predicate = predicate_on(partition, changed)
            if rows.is_empty():
                opened.delete(predicate, commit_properties=properties({**self.metadata, **(metadata or {})}))
                return Commit(table, opened.version(), 0, tuple(changed))
            return self.commit(
                table, opened, rows, days=changed, mode="overwrite", predicate=predicate, metadata=metadata
            )

        return until_committed(table, attempt)

    def overwrite(
        self, table: str, frame: pl.DataFrame | pl.LazyFrame, *, metadata: Mapping[str, str] | None = None
    ) -> Commit | None:
        """Makes an unpartitioned table hold exactly these rows, with these columns; equal content commits nothing.

        Content that cannot be read any more is not equal.

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
            if opened is not None and self._holds(table, opened, ready):
                return None
            return self.commit(table, opened, ready, mode="overwrite", metadata=metadata)

        return until_committed(table, attempt)

    def commit(
        self,
        table: str,
        opened: DeltaTable | None,
        frame: pl.DataFrame,
        *,
        days: Sequence[Any] = (),
        mode: Literal["append", "overwrite"] = "append",
        predicate: str | None = None,
        token: tuple[str, int] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Commit:
        """Writes a frame as the next version of an opened table, sorted as its layout says; for this room's own use."""
        layout = layout_of(table)
        partitions = [layout.partition] if layout.partition else []
        order = [*partitions, *(name for name in layout.sort if name in frame.columns)]
        ordered = frame.sort(order, nulls_last=False, maintain_order=True) if order else frame
        write_deltalake(
            opened if opened is not None else self.uri(table),
            ordered.to_arrow(compat_level=pl.CompatLevel.oldest()),
            partition_by=partitions or None,
            mode="error" if opened is None else mode,  # pyright: ignore[reportArgumentType]  one call for two overloads
            schema_mode=None if opened is None else ("merge" if mode == "append" or predicate else "overwrite"),
            predicate=predicate,
            configuration=CONFIGURATION if opened is None else None,
            storage_options=self.storage_options,
            writer_properties=WRITER,
            commit_properties=properties({**self.metadata, **(metadata or {})}, token, first=opened is None),
        )
        if opened is None:
            return Commit(table, 0, frame.height, tuple(days))
        self.hold(table, opened, is_newest=True)
        return Commit(table, opened.version(), frame.height, tuple(days))

    def _changed(self, table: str, opened: DeltaTable | None, frame: pl.DataFrame, days: list[Any]) -> list[Any]:
        partition = partition_of(table)
        new = fingerprints_by(frame, partition, frame.columns)
        if opened is None:
            return [day for day in days if day in new]
        held = pl.scan_delta(opened, storage_options=self.storage_options)
        names = held.collect_schema().names()
        added = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in frame.schema.items() if name not in names]

        def stored(some: list[Any]) -> dict[Any, Fingerprint]:
            rows = held.filter(pl.col(partition).is_in(some)).with_columns(added)
            return fingerprints_by(rows, partition, frame.columns)

        gone = self._lost(table, days)
        left = [day for day in days if day not in gone]
        try:
            old = stored(left) if left else {}
        except UNREADABLE:
            broken = self._lost(table, left, decode=True)
            if not broken:
                raise
            gone, left = gone | broken, [day for day in left if day not in broken]
            old = stored(left) if left else {}
        return [day for day in days if day in gone or new.get(day) != old.get(day)]

    def _holds(self, table: str, opened: DeltaTable, frame: pl.DataFrame) -> bool:
        held = pl.scan_delta(opened, storage_options=self.storage_options)
        if self._lost(table) or held.collect_schema() != frame.schema:
            return False
        try:
            return fingerprint(held) == fingerprint(frame)
        except UNREADABLE:
            if not self._lost(table, decode=True):
                raise
            return False

    def _lost(self, table: str, days: list[Any] | None = None, *, decode: bool = False) -> set[Any]:
        """The partitions of which something cannot be read and is about to be written anew."""
        found = lost_files(self, table, days, decode=decode)
        for file in found:
            logger.warning("%s and is written anew", file)
        return {file.part for file in found}


def _collected(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming") if isinstance(frame, pl.LazyFrame) else frame


def _held(opened: DeltaTable) -> Mapping[str, pl.DataType]:
    return pl.scan_delta(opened).collect_schema()


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


def predicate_on(partition: str, days: Sequence[Any]) -> str:
    """SQL that is true for some partitions, with literals of the partition's type."""
    return f"{partition} IN ({', '.join(_literal(day) for day in days)})"


def _literal(day: Part) -> str:
    if isinstance(day, date):
        return f"DATE '{day.isoformat()}'"
    if isinstance(day, int):
        return str(day)
    return "'" + day.replace("'", "''") + "'"
