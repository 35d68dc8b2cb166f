"""Upkeep: many small files of closed days become few, logs get checkpoints, files nobody needs are removed.

Content never changes here. Which days are closed and which versions are pinned is told by the caller.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from crm_platform.lake.commit import Commit, until_committed
from crm_platform.lake.errors import PinnedVersionError, TableUnreadableError
from crm_platform.lake.store import Lake, predicate_on
from crm_platform.lake.tables import layout_of

SMALL = 64 * 1024 * 1024
"""Bytes below which a file is worth joining with another."""
CROWDED = 16
"""Files from which on an unpartitioned table is compacted."""
RETENTION = timedelta(days=30)
COMPACTION = {"compaction": "true"}
"""What a compaction's commit says of itself: its version holds the content of the one before."""


@dataclass
class MaintenanceReport:
    """What upkeep did: the tables it rewrote, their files before and after, and how many files it removed."""

    tables: list[str] = field(default_factory=list)
    files_before: int = 0
    files_after: int = 0
    removed: int = 0


def maintain(
    lake: Lake,
    *,
    before: date,
    pinned: Mapping[str, Collection[int]] | None = None,
    retention: timedelta = RETENTION,
    progress: Callable[[str], None] | None = None,
) -> MaintenanceReport:
    """Tends every table: compaction of the days before one, a checkpoint where that was needed, vacuum.

    Args:
        lake: The lake.
        before: Days before this one are closed.
        pinned: By table, versions that must stay readable.
        retention: How long files stay that the newest version does not need.
        progress: Told of every table that changed.

    Raises:
        PinnedVersionError: A pinned version cannot be opened any more; nothing of its table is removed.
    """
    report = MaintenanceReport()
    for table in lake.tables():
        commit = compact(lake, table, before=before)
        removed = vacuum(lake, table, pinned=(pinned or {}).get(table, ()), retention=retention)
        report.removed += len(removed)
        if commit is not None:
            report.tables.append(table)
            report.files_before += commit.files_before
            report.files_after += commit.files_after
        if progress is not None and (commit is not None or removed):
            progress(f"tended {table}: {len(removed)} files removed")
    return report


@dataclass(frozen=True)
class Compaction:
    """One table compacted: its commit, and its files before and after."""

    commit: Commit
    files_before: int
    files_after: int


def compact(lake: Lake, table: str, *, before: date) -> Compaction | None:
    """Joins the small files of every closed day into one, sorted as the layout says; None where there is nothing to do."""
    layout = layout_of(table)

    def attempt() -> tuple[Commit, int] | None:
        opened = lake.open(table)
        if opened is None:
            return None
        crowded = _crowded(opened, layout.partition, before)
        if crowded is None:
            return None
        held = pl.scan_delta(opened, storage_options=lake.storage_options)
        files = len(opened.file_uris())
        if layout.partition is None:
            return lake.commit(table, opened, held.collect(), mode="overwrite", metadata=COMPACTION), files
        rows = held.filter(pl.col(layout.partition).is_in(crowded)).collect()
        predicate = predicate_on(layout.partition, crowded)
        commit = lake.commit(
            table, opened, rows, days=crowded, mode="overwrite", predicate=predicate, metadata=COMPACTION
        )
        return commit, files

    done = until_committed(table, attempt)
    if done is None:
        return None
    commit, files_before = done
    opened = lake.open(table)
    if opened is not None:
        opened.create_checkpoint()
    return Compaction(commit, files_before, len(lake.files(table)))


def vacuum(lake: Lake, table: str, *, pinned: Collection[int] = (), retention: timedelta = RETENTION) -> list[str]:
    """Removes the files that neither the newest version, nor a pinned one, nor one within the retention needs.

    Returns:
        The files removed; a table without any gets no new version.

    Raises:
        PinnedVersionError: A pinned version cannot be opened; nothing is removed.
    """
    opened = lake.open(table)
    if opened is None:
        return []
    lost = [version for version in sorted(pinned) if not _opens(lake, table, version)]
    if lost:
        raise PinnedVersionError.missing(table, lost)
    asked: dict[str, Any] = {
        "retention_hours": int(retention.total_seconds() // 3600),
        "enforce_retention_duration": False,
        "keep_versions": sorted(pinned) or None,
    }
    if not opened.vacuum(dry_run=True, **asked):
        return []
    return opened.vacuum(dry_run=False, **asked)


def _crowded(opened: DeltaTable, partition: str | None, before: date) -> list[Any] | None:
    """The closed partitions with more than one small file; an empty list for a crowded table without partitions."""
    files = pl.DataFrame(opened.get_add_actions(flatten=True))
    small = files.filter(pl.col("size_bytes") < SMALL)
    if partition is None:
        return [] if small.height > CROWDED else None
    name = f"partition.{partition}"
    closed = small.filter(pl.col(name) < before) if small.schema.get(name) == pl.Date() else small
    counted = closed.group_by(name).len().filter(pl.col("len") > 1).sort(name)
    return counted.get_column(name).to_list() or None


def _opens(lake: Lake, table: str, version: int) -> bool:
    try:
        return lake.open(table, version) is not None
    except (TableUnreadableError, DeltaError):
        return False
