"""Paginated, filtered reads of what stands in the CRM, in the order of (modified_at, id).

`lagging_search` and `result_cap` bend them here.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import polars as pl

from crm_platform.sandbox.changelog import ChangeLog, microseconds
from crm_platform.sandbox.clock import Clock
from crm_platform.sandbox.faults import Faults
from crm_platform.sandbox.feed import EPOCH
from crm_platform.sandbox.presentation import Presentation
from crm_platform.sandbox.refusals import CallRefusedError
from crm_platform.sandbox.vocabulary import COLUMNS, OBJECTS
from crm_platform.sandbox.wire import records

KEPT = 12
UTC_US = pl.Datetime("us", "UTC")


def moment(value: str, name: str) -> datetime:
    """A moment that a client names.

    Raises:
        CallRefusedError: It cannot be read, or has no zone.
    """
    try:
        found = datetime.fromisoformat(value)
    except ValueError as broken:
        raise CallRefusedError.bad_moment(name) from broken
    if found.tzinfo is None:
        raise CallRefusedError.bad_moment(name)
    return found.astimezone(UTC)


class Reads:
    """Pages of living, and on demand of deleted, entities."""

    def __init__(self, log: ChangeLog, clock: Clock, presentation: Presentation, faults: Faults) -> None:
        self.log = log
        self.clock = clock
        self.presentation = presentation
        self.faults = faults
        self._sorted: dict[tuple[str, datetime], pl.DataFrame] = {}
        self._lock = Lock()

    def page(
        self,
        of: str,
        *,
        limit: int,
        after: str | None,
        modified_since: str | None,
        ids: str | None,
        include_deleted: bool,
        filters: Mapping[str, str],
    ) -> dict[str, Any]:
        """One page of an object.

        Raises:
            CallRefusedError: The object, a field or the cursor is unknown, or a moment cannot be read.
        """
        if of not in OBJECTS:
            raise CallRefusedError.unknown_object(of)
        now = self.clock.now()
        lag = self.faults.lagging_search.seconds if self.faults.lagging_search and ids is None else 0
        rows = self._standing(of, now - timedelta(seconds=lag))
        kept = ~pl.col("_hard") & (~pl.col("_deleted") | pl.lit(include_deleted))
        if modified_since:
            kept &= pl.col("modified_at") >= moment(modified_since, "modified_since")
        if ids is not None:
            kept &= pl.col("id").is_in(ids.split(",")) | self._alias(of, ids.split(","))
        for name, value in filters.items():
            column = self.presentation.original(name, of, now)
            if column not in COLUMNS[of]:
                raise CallRefusedError.unknown_field(of, name)
            kept &= _equals(rows, column, value)
        told = 0
        if after:
            at, last, told = _position(after)
            kept &= (pl.col("modified_at") > at) | ((pl.col("modified_at") == at) & (pl.col("id") > last))
        cap = self.faults.result_cap.cap if self.faults.result_cap else None
        room = limit if cap is None else min(limit, max(cap - told, 0))
        found = rows.lazy().filter(kept).head(room + 1).collect()
        page = found.head(room)
        more = found.height > room and (cap is None or told + room < cap)
        cursor = _cursor(page, told + page.height) if more and page.height else None
        own = self.presentation.shaped(page.select(list(COLUMNS[of])), of, now, first_page=after is None)
        if include_deleted:
            own = own.with_columns(page["_deleted"].alias("is_deleted"), page["_merged_into"].alias("merged_into"))
        return {"records": records(own), "next": cursor}

    def _alias(self, of: str, ids: list[str]) -> pl.Expr:
        """Where contacts merge into a third one, its old ids answer as it."""
        if of != "contact" or not self.faults.merge_styles:
            return pl.lit(value=False)
        return pl.col("merged_ids").list.eval(pl.element().is_in(ids)).list.any().fill_null(value=False) & ~pl.col(
            "_deleted"
        )

    def _standing(self, of: str, at: datetime) -> pl.DataFrame:
        """The state at a moment, in reading order; the same as long as nothing new has shown up."""
        offset = self.log.offset_at(at)
        at = EPOCH + timedelta(microseconds=int(self.log.visible[offset - 1])) if offset else at
        with self._lock:
            if (of, at) not in self._sorted:
                while len(self._sorted) >= KEPT:
                    self._sorted.pop(next(iter(self._sorted)))
                self._sorted[of, at] = self.log.state(of, as_of=at, clock=at).sort("modified_at", "id")
            return self._sorted[of, at]


def _equals(rows: pl.DataFrame, column: str, value: str) -> pl.Expr:
    if isinstance(rows.schema[column], pl.List):
        return pl.col(column).list.contains(value)
    if rows.schema[column] == pl.Boolean:
        return pl.col(column) == (value == "true")
    if rows.schema[column] == UTC_US:
        return pl.col(column) == moment(value, column)
    return pl.col(column).cast(pl.String) == value


def _cursor(page: pl.DataFrame, told: int) -> str:
    at, last = page.row(-1, named=True)["modified_at"], page.item(-1, "id")
    return base64.urlsafe_b64encode(json.dumps([microseconds(at), last, told]).encode()).decode()


def _position(cursor: str) -> tuple[datetime, str, int]:
    try:
        at, last, told = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return EPOCH + timedelta(microseconds=at), str(last), int(told)
    except (binascii.Error, ValueError, TypeError) as broken:
        raise CallRefusedError.bad_cursor() from broken
