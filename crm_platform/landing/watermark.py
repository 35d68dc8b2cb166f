"""How far landing has come: batches and offsets, the watermark, the days it covers.

Reads `landing/ranges` only. Writing it is `feed`'s; whether the batches tile is decided in `gaps`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from crm_platform.contracts import RANGES
from crm_platform.lake import Lake

TABLE = "landing/ranges"
NUMBER_WIDTH = 10
"""A batch's id ends in its number, padded to this width."""
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Batch:
    """A stretch of the feed, after `from_offset` up to and with `to_offset`; open until every object has landed."""

    batch_id: str
    from_offset: str | None
    to_offset: str
    watermark: datetime
    events: int
    is_done: bool

    def same_stretch(self, other: "Batch") -> bool:
        """Whether both stand for the same bounds under the same id."""
        mine = (self.batch_id, self.from_offset, self.to_offset, self.watermark)
        return mine == (other.batch_id, other.from_offset, other.to_offset, other.watermark)


def batches(lake: Lake) -> list[Batch]:
    """All batches in the order in which they were opened."""
    told = lake.scan(TABLE, schema=RANGES).collect()
    folded = (
        told.group_by("batch_id")
        .agg(
            pl.col("from_offset", "to_offset", "watermark", "events").first(),
            (pl.col("status") == "done").any().alias("is_done"),
        )
        .sort(pl.col("batch_id").str.tail(NUMBER_WIDTH))
    )
    return [Batch(**row) for row in folded.select(Batch.__dataclass_fields__.keys()).iter_rows(named=True)]


def last_done(lake: Lake) -> Batch | None:
    """The newest batch that has landed whole."""
    return next((batch for batch in reversed(batches(lake)) if batch.is_done), None)


def watermark(lake: Lake) -> datetime | None:
    """The moment up to which (inclusive) every row is here; None before the first batch."""
    return max((batch.watermark for batch in batches(lake) if batch.is_done), default=None)


def landed_offset(lake: Lake) -> str | None:
    """The offset after which the feed goes on; None before the first batch."""
    done = last_done(lake)
    return None if done is None else done.to_offset


def covered_days(days: Iterable[date], reached: datetime | None) -> list[date]:
    """Those of the days that the watermark has entered, rows or not, in order."""
    return [] if reached is None else sorted(day for day in set(days) if start_of(day) <= reached)


def closed_days(days: Iterable[date], reached: datetime | None) -> list[date]:
    """Those of the days that the watermark has passed: nothing more will land in them in time."""
    return covered_days((day for day in days if reached and _end(day) <= reached), reached)


def start_of(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


def _end(day: date) -> datetime:
    return start_of(day) + timedelta(days=1) - MICROSECOND
