"""A range that the feed lost for good: seen by asking the feed, and skipped by a line in `landing/ranges`.

Skipping is a person's decision, made once per range. It lands nothing and moves no watermark: the next snapshot of every
object is held against history, and what the range had is repaired from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from crm_platform.contracts import RANGES
from crm_platform.lake import Lake
from crm_platform.landing.feed import Feed
from crm_platform.landing.watermark import NUMBER_WIDTH, TABLE, batches, landed_offset, watermark
from crm_platform.sources import GapError

CHANNEL = "lost"
"""What the id of such a line begins with."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""The watermark where nothing has landed: it covers no day."""


@dataclass(frozen=True)
class LostRange:
    """What the feed can no longer tell: the changes after `from_offset` (None: from its start) up to `to_offset`."""

    from_offset: str | None
    to_offset: str


def lost_range(lake: Lake, feed: Feed) -> LostRange | None:
    """The range that the feed lost right after what has landed; None where it goes on, or has more to land first.

    Raises:
        GapError: The feed does not know the offset at all, so there is no place to go on from.
    """
    after = landed_offset(lake)
    try:
        next(iter(feed.changes(after)), None)
    except GapError as gap:
        if gap.resume is None:
            raise
        return LostRange(after, gap.resume)
    return None


def skip_range(lake: Lake, lost: LostRange, *, recorded_at: Callable[[], datetime] | None = None) -> None:
    """Has landing go on behind a lost range, which stands in `landing/ranges` as done and without events."""
    line = {
        "batch_id": f"{CHANNEL}-{len(batches(lake)) + 1:0{NUMBER_WIDTH}d}",
        "from_offset": lost.from_offset,
        "to_offset": lost.to_offset,
        "watermark": watermark(lake) or BEGINNING,
        "status": "done",
        "events": 0,
        "recorded_at": (recorded_at or _real)(),
    }
    lake.append(TABLE, pl.DataFrame([line], schema=RANGES), token=f"{line['batch_id']}:done")


def _real() -> datetime:
    return datetime.now(UTC)
