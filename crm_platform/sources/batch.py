"""What a source hands over: a head, batches of changes, an export's file; and what every source can be asked.

Shapes only. Who fills them stands in `feed`, `exports` and `log`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from crm_platform.sources.transport import Format

Progress = Callable[[str], None]
"""Told one short line at a time."""

BATCH_EVENTS = 50_000
"""Events per batch where nothing else is asked for: some tens of megabytes."""


@dataclass(frozen=True)
class Head:
    """How far a source reaches: its last offset, the commit time there, and the first offset it still holds."""

    offset: str
    time: datetime
    earliest: str | None


@dataclass(frozen=True)
class FeedBatch:
    """A stretch of a feed, after `from_offset` (None: from its start) up to and with `to_offset`.

    `events` is a RAW_CHANGE frame, one row per entity per event, in the feed's order. Once the batch and all before it
    have landed, every change committed up to `watermark` (inclusive) is there.
    """

    from_offset: str | None
    to_offset: str
    watermark: datetime
    events: pl.DataFrame


@dataclass(frozen=True)
class ExportFile:
    """A bulk export on disk: its parts in order, each a whole file of `format`.

    `complete` says that it claims to hold every living row; `rows` is what the CRM counted, None where it does not say.
    """

    paths: list[Path]
    format: Format
    object: str
    started_at: datetime
    finished_at: datetime
    complete: bool
    rows: int | None

    @property
    def path(self) -> Path:
        """The first part: all of it, where there is but one."""
        return self.paths[0]


class Source(Protocol):
    """A CRM, or the recording of one, that can be followed."""

    def head(self) -> Head:
        """How far the source reaches now."""
        ...

    def changes(
        self, after: str | None, until: datetime | None = None, upto: str | None = None, *, limit: int = BATCH_EVENTS
    ) -> Iterator[FeedBatch]:
        """The changes after an offset, in the feed's order.

        Args:
            after: The last offset already read; None for the start.
            until: Only what was committed before this moment.
            upto: Only up to and with this offset.
            limit: Most events per batch.
        """
        ...

    def export(self, object_name: str, *, day: date | None, into: Path) -> ExportFile:
        """A bulk export of an object, as of the end of a day, or as it is now."""
        ...
