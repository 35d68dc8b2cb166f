"""The change feed: pages of events in the order of their offsets, with retention and a watermark.

`gap_events` bends it here. What an offset is was decided when the log was written.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

import polars as pl

from crm_platform.sandbox.changelog import ChangeLog
from crm_platform.sandbox.clock import Clock
from crm_platform.sandbox.faults import GapEvents
from crm_platform.sandbox.journal import FULL
from crm_platform.sandbox.presentation import BEGINNING, Presentation
from crm_platform.sandbox.refusals import CallRefusedError
from crm_platform.sandbox.vocabulary import COLUMNS
from crm_platform.sandbox.wire import moment_text, records

META = ("_offset", "_operation", "_event", "_commit", "_txn", "_order", "_merged_into", "_by", "_origin", "_mask", "id")
MICRO = timedelta(microseconds=1)
END = datetime(9999, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Feed:
    """The events of a log, as far as the clock has come."""

    def __init__(
        self,
        log: ChangeLog,
        clock: Clock,
        presentation: Presentation,
        *,
        retention: timedelta | None,
        gaps: GapEvents | None,
    ) -> None:
        self.log = log
        self.clock = clock
        self.presentation = presentation
        self.retention = retention
        self.gaps = gaps

    def earliest(self, now: datetime) -> int:
        """The oldest offset that is still kept."""
        return 1 if self.retention is None else self.log.offset_at(now - self.retention) + 1

    def head(self) -> dict[str, Any]:
        """How far the feed reaches."""
        now = self.clock.now()
        return {"offset": self.log.offset_at(now), "time": moment_text(now), "earliest_offset": self.earliest(now)}

    def page(self, after: int | None, limit: int) -> dict[str, Any]:
        """Up to `limit` events behind an offset; without one from the oldest that is kept.

        Raises:
            CallRefusedError: The offset is no longer kept, or has not been given yet.
        """
        now = self.clock.now()
        head, earliest = self.log.offset_at(now), self.earliest(now)
        after = earliest - 1 if after is None else after
        if after < earliest - 1:
            raise CallRefusedError.offset_expired(after, earliest)
        if after > head:
            raise CallRefusedError.beyond_head(after, head)
        upto = min(after + limit, head)
        watermark = now if upto == head else EPOCH + timedelta(microseconds=int(self.log.visible[upto])) - MICRO
        return {
            "events": self._events(after, upto),
            "next_offset": upto,
            "head_offset": head,
            "watermark": moment_text(watermark),
        }

    def _events(self, after: int, upto: int) -> list[dict[str, Any]]:
        events = [event for of, rows in self.log.between(after, upto).items() for event in self._of(of, rows)]
        events.sort(key=lambda event: event["offset"])
        return [self._bent(event) for event in _gathered(events)] if self.gaps else events

    def _of(self, of: str, rows: pl.DataFrame) -> list[dict[str, Any]]:
        """The events of one object, each told in the shape that the object had when it was committed."""
        told: list[dict[str, Any]] = []
        bounds = [BEGINNING, *self.presentation.turns(of), END]
        for at, end in pairwise(bounds):
            part = rows.filter((pl.col("_commit") >= at) & (pl.col("_commit") < end))
            if not part.height:
                continue
            own = records(self.presentation.shaped(part.select(list(COLUMNS[of])), of, at))
            names = {mask: self._names(of, mask, at) for mask in part.get_column("_mask").unique()}
            told += [_event(of, meta, fields, names) for meta, fields in zip(_meta(part), own, strict=True)]
        return told

    def _names(self, of: str, mask: int, at: datetime) -> list[str] | None:
        return None if mask == FULL else self.presentation.renamed(_masked(of, mask), of, at)

    def _bent(self, event: dict[str, Any]) -> dict[str, Any]:
        """Takes the data out of some events."""
        if not self.gaps:
            return event
        nothing = {"id": None, "changed_fields": None, "merged_into": None, "fields": {}}
        if self.gaps.overflow_every and event["offset"] % self.gaps.overflow_every == 0:
            return event | nothing | {"operation": "overflow", "ids": None}
        if (event["offset"] * 2_654_435_761) % (1 << 32) < self.gaps.share * (1 << 32):
            return event | nothing | {"operation": "gap", "ids": event["ids"] or [event["id"]]}
        return event


@lru_cache(maxsize=1000)
def _masked(of: str, mask: int) -> list[str]:
    return [name for place, name in enumerate(COLUMNS[of]) if mask >> place & 1]


def _meta(part: pl.DataFrame) -> list[dict[str, Any]]:
    return records(part.select(META))


def _event(of: str, meta: dict[str, Any], fields: dict[str, Any], names: dict[int, list[str] | None]) -> dict[str, Any]:
    written = names[meta["_mask"]]
    tombstone = meta["_operation"] in {"delete", "merge"}
    return {
        "offset": meta["_offset"],
        "object": of,
        "id": meta["id"],
        "ids": None,
        "operation": meta["_operation"],
        "event_time": meta["_event"],
        "commit_time": meta["_commit"],
        "transaction": {"id": meta["_txn"], "order": meta["_order"]},
        "changed_fields": None if tombstone else written,
        "merged_into": meta["_merged_into"],
        "changed_by": meta["_by"],
        "origin": meta["_origin"],
        "fields": fields if written is None else {name: fields[name] for name in written if name in fields},
    }


def _gathered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Joins equal edits of one transaction into one event that names several entities."""
    told: list[dict[str, Any]] = []
    for _, group in groupby(
        events, key=lambda event: (event["transaction"]["id"], event["object"], event["operation"])
    ):
        alike = list(group)
        same = len(alike) > 1 and all(event["fields"] == alike[0]["fields"] for event in alike)
        if same and alike[0]["operation"] == "update":
            told.append(alike[-1] | {"id": None, "ids": [event["id"] for event in alike]})
        else:
            told += alike
    return told
