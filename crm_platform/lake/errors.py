"""How the lake refuses or fails: one class per failure, each saying what, where and how much, and what to do next."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from crm_platform.contracts.errors import PermanentError, TransientError


class TableNameError(PermanentError):
    """A table was named that the lake has no layout for."""

    @classmethod
    def unknown(cls, table: str, known: Iterable[str]) -> "TableNameError":
        """Says which names there are."""
        return cls(
            f"The lake has no table {table!r}. Names follow: {', '.join(known)}; new ones go into lake/tables.py."
        )


class TableMissingError(PermanentError):
    """A table was read that nobody has written yet, and no schema says what its empty form is."""

    @classmethod
    def nothing_at(cls, table: str, uri: str) -> "TableMissingError":
        """Says where the table was looked for."""
        return cls(f"Table {table} does not exist yet at {uri}. Materialize it first, or scan it with its schema.")


class TableUnreadableError(TransientError):
    """A table is there, or should be, but cannot be read: that is not an empty table."""

    @classmethod
    def broken(cls, table: str, uri: str, cause: BaseException) -> "TableUnreadableError":
        """Names the table and the kind of failure."""
        first = str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
        return cls(
            f"Table {table} at {uri} cannot be read: {first}. "
            "Check the storage and the table's _delta_log; nothing was written."
        )


class FilesLostError(PermanentError):
    """Files that the log of a derived table names cannot be read."""

    @classmethod
    def derived(cls, table: str, files: Sequence[str], first: date | None) -> "FilesLostError":
        """Names the table, the first file with what is wrong with it, and from which day on to derive it again."""
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        how = "materialize it again" if first is None else f"run `crm-platform rebuild --from {first}`"
        return cls(
            f"Table {table} cannot be read: {files[0]}{more}. Nothing was written. "
            f"It is derived from what landed: {how}."
        )


class CommitConflictError(TransientError):
    """Other writers kept winning the same table."""

    @classmethod
    def gave_up(cls, table: str, attempts: int) -> "CommitConflictError":
        """Says how often it was tried."""
        return cls(
            f"Table {table} could not be committed: {attempts} attempts lost against other writers. "
            "Nothing was written; run it again, or give the table a pool of one."
        )


class RowsOutsideError(PermanentError):
    """A replacement holds rows that lie outside of what it replaces."""

    def __init__(self, message: str, *, table: str, rows: int) -> None:
        super().__init__(message)
        self.table = table
        self.rows = rows

    @classmethod
    def found(cls, table: str, column: str, rows: int, example: Any) -> "RowsOutsideError":
        """Says how many rows lie outside, and shows one partition value."""
        return cls(
            f"{rows} rows for {table} lie outside the partitions to be replaced, for example {column} = {example}. "
            "Nothing was written; widen the window or mend the rows.",
            table=table,
            rows=rows,
        )


class SchemaChangeError(PermanentError):
    """A frame does not fit the table it is meant for by more than new columns."""

    def __init__(self, message: str, *, table: str, columns: list[str]) -> None:
        super().__init__(message)
        self.table = table
        self.columns = columns

    @classmethod
    def retyped(cls, table: str, changes: dict[str, tuple[Any, Any]]) -> "SchemaChangeError":
        """Names each column with the type it has and the type it should get."""
        told = ", ".join(f"{name} ({held} in the table, {new} in the frame)" for name, (held, new) in changes.items())
        return cls(
            f"Table {table} would change the type of {len(changes)} columns: {told}. "
            "Only new columns are added in place; build the table under a new generation path.",
            table=table,
            columns=list(changes),
        )

    @classmethod
    def removed(cls, table: str, columns: list[str]) -> "SchemaChangeError":
        """Names the columns that would vanish."""
        return cls(
            f"Table {table} would lose {len(columns)} columns: {', '.join(columns)}. "
            "Only new columns are added in place; build the table under a new generation path.",
            table=table,
            columns=columns,
        )

    @classmethod
    def unstorable(cls, table: str, columns: dict[str, Any]) -> "SchemaChangeError":
        """Names the columns whose type Delta cannot hold."""
        told = ", ".join(f"{name} ({dtype})" for name, dtype in columns.items())
        return cls(
            f"Table {table} cannot hold {len(columns)} columns: {told}. "
            "Give them a type that Delta knows: integers up to 64 bits, floats, text, dates, UTC moments in µs, Decimal.",
            table=table,
            columns=list(columns),
        )

    @classmethod
    def unpartitioned(cls, table: str, column: str) -> "SchemaChangeError":
        """Says that the frame lacks the column the table is partitioned by."""
        return cls(
            f"A frame for {table} lacks its partition column {column}. Add it before the commit.",
            table=table,
            columns=[column],
        )


class LayoutError(PermanentError):
    """A table was written in a way that its layout does not allow."""

    @classmethod
    def append_only(cls, table: str) -> "LayoutError":
        """Says that a landed table is never replaced."""
        return cls(
            f"Table {table} is append-only and was asked to replace rows. Append instead; landed rows never change."
        )

    @classmethod
    def partitioned(cls, table: str, column: str) -> "LayoutError":
        """Says that a partitioned table is replaced by partitions."""
        return cls(
            f"Table {table} is partitioned by {column} and was asked to overwrite it all. Use replace with its days."
        )

    @classmethod
    def whole(cls, table: str) -> "LayoutError":
        """Says that an unpartitioned table has no days."""
        return cls(f"Table {table} has no partitions and was asked for some of them. Read or overwrite it as a whole.")

    @classmethod
    def remote_folder(cls, root: str, name: str) -> "LayoutError":
        """Says that plain files need a local root."""
        return cls(
            f"The lake at {root} is an object store and has no folder {name!r}. Use a lake on a local disk for it."
        )


class PinnedVersionError(PermanentError):
    """Files would be removed that a training manifest still needs."""

    @classmethod
    def missing(cls, table: str, versions: list[int]) -> "PinnedVersionError":
        """Names the pinned versions that cannot be found."""
        told = ", ".join(str(version) for version in versions)
        return cls(
            f"Vacuum of {table} was refused: pinned versions {told} cannot be opened. "
            "Correct the pins, or mark the manifests that hold them."
        )


class AuditChainError(PermanentError):
    """The audit log was changed after it was written."""

    @classmethod
    def broken(cls, sequence: int) -> "AuditChainError":
        """Names the first entry that does not follow from the one before."""
        return cls(
            f"The audit log breaks at entry {sequence}: its hash does not follow from the entries before. "
            "Restore audit/log from a version before the change, and find out who wrote to it."
        )
