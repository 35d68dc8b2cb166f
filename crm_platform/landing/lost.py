"""What to say where files of the lake cannot be read: what is derived is derived again, what landed cannot be.

Decides which of the two it is. Looking for such files is the lake's, reading a CRM once more `again`'s.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta

from crm_platform.lake import UNREADABLE, Lake, LostFile, lost_files
from crm_platform.lake.errors import FilesLostError
from crm_platform.landing.errors import LandingLostError
from crm_platform.landing.watermark import Batch, batches

LANDED = ("landing/", "quarantine/")
"""How the names of tables begin that nothing in the lake can be derived from again."""


@contextmanager
def explained(lake: Lake, tables: Sequence[str]) -> Iterator[None]:
    """Makes a failed read say which files of some tables are gone, where that is the cause; else it stays what it was.

    Raises:
        LandingLostError: Files of what landed cannot be read.
        FilesLostError: Files of what is derived cannot be read.
    """
    try:
        yield
    except UNREADABLE as failure:
        found = [file for table in tables for file in lost_files(lake, table, decode=True)]
        if not found:
            raise
        raise loss(lake, found) from failure


def refuse_lost(lake: Lake, tables: Sequence[str], days: Sequence[date] | None = None) -> None:
    """Refuses to go on where files of what landed cannot be read.

    Args:
        lake: The lake.
        tables: What would be read.
        days: Of which days; None for all.

    Raises:
        LandingLostError: Names the first such table, and all that it has lost of these days.
    """
    for table in tables:
        found = lost_files(lake, table, days)
        if found:
            raise loss(lake, found)


def loss(lake: Lake, files: Sequence[LostFile]) -> LandingLostError | FilesLostError:
    """The error that says what is gone and what heals it; what landed comes first, the rest waits for it."""
    landed = [file for file in files if file.table.startswith(LANDED)]
    table = (landed or files)[0].table
    mine = [file for file in files if file.table == table]
    told = [str(file) for file in mine]
    days = sorted({file.part for file in mine if isinstance(file.part, date)})
    if not landed:
        return FilesLostError.derived(table, told, next(iter(days), None))
    where = f"of {days[0]}" if len(set(days)) == 1 else f"of {len(days)} days from {days[0]} to {days[-1]}"
    reached = batches_of(lake, mine)
    if reached and table.startswith("landing/changes/"):
        where += f", from the range after offset {reached[0].from_offset or 'the start'} up to {reached[-1].to_offset}"
    return LandingLostError.gone(table, told, sum(file.rows for file in mine), where)


def batches_of(lake: Lake, files: Sequence[LostFile], lag: timedelta = timedelta()) -> list[Batch]:
    """The batches of the feed that may have brought what is gone, by when the CRM recorded it; in order.

    Args:
        lake: The lake.
        files: What is gone.
        lag: By how much a batch may hold rows from behind its own watermark.
    """
    since = min((file.since for file in files if file.since is not None), default=None)
    until = max((file.until for file in files if file.until is not None), default=None)
    if since is None or until is None:
        return []
    known = batches(lake)
    before: list[datetime | None] = [None, *(batch.watermark for batch in known)]
    return [
        batch
        for batch, begin in zip(known, before, strict=False)
        if batch.watermark + lag >= since and (begin is None or begin <= until) and batch.from_offset != batch.to_offset
    ]
