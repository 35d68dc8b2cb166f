"""Whether the landed stretches of a feed tile: each begins where the one before ended.

Pure: batches in, gaps out. Saying so in a check, and healing by a snapshot, is done elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crm_platform.landing.watermark import Batch


@dataclass(frozen=True)
class Gap:
    """A stretch between two batches that was never landed, or with `overlaps` one that was landed twice."""

    batch_id: str
    expected: str | None
    found: str | None
    overlaps: bool


def gaps_in(landed: Sequence[Batch], start: str | None = None) -> list[Gap]:
    """Where the batches do not tile; offsets sort bytewise, None is the start of the feed.

    Args:
        landed: Batches in the order in which they were opened.
        start: Where the first one must begin.
    """
    before: list[str | None] = [start, *(batch.to_offset for batch in landed)]
    return [
        Gap(batch.batch_id, expected, batch.from_offset, overlaps=(batch.from_offset or "") < (expected or ""))
        for batch, expected in zip(landed, before, strict=False)
        if batch.from_offset != expected
    ]
