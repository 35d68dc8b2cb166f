"""An ordered change feed read as batches of raw changes: pages, bounds, gaps, re-reads.

Where one event says what, the manifest tells; requests and retries are `client`'s, rows by id are `rest`'s.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from crm_platform.contracts import Contract
from crm_platform.sources.batch import BATCH_EVENTS, FeedBatch, Head
from crm_platform.sources.client import CrmClient
from crm_platform.sources.errors import AnswerError, GapError, GoneError
from crm_platform.sources.exports import moment
from crm_platform.sources.manifest import Manifest
from crm_platform.sources.raw import json_text, moment_columns, raw_changes
from crm_platform.sources.transport import Changes, EventMap, picked

Reread = Callable[[str, list[str]], Iterable[dict[str, Any]]]
"""Object and ids to the raw rows of the records as they are now."""


@dataclass(frozen=True)
class Page:
    """One page of the feed, cut to what was asked for: padded offsets, raw rows, whether it was cut."""

    rows: list[dict[str, Any]]
    to_offset: str
    watermark: datetime
    is_last: bool
    overflow: str | None = None


class FeedReader:
    """Follows the change feed of one CRM."""

    def __init__(
        self,
        manifest: Manifest,
        changes: Changes,
        client: CrmClient,
        contracts: Mapping[str, Contract],
        *,
        reread: Reread | None,
    ) -> None:
        """Asks nothing yet; without `reread`, an event that carries no data is a gap."""
        self._manifest = manifest
        self._changes = changes
        self._client = client
        self._moments = moment_columns(contracts)
        self._reread = reread
        self._objects = {spec.table: name for name, spec in manifest.objects.items()}

    def head(self) -> Head:
        """How far the feed reaches now.

        Raises:
            AnswerError: The answer lacks the offset, or its time has no zone.
        """
        head = self._changes.head
        told = self._client.get(head.path).body
        earliest = picked(told, head.earliest)
        return Head(
            offset=self._offset(self._needed(told, head.offset, head.path)),
            time=moment(picked(told, head.time), head.path, head.time),
            earliest=None if earliest is None else self._offset(earliest),
        )

    def changes(
        self, after: str | None, until: datetime | None = None, upto: str | None = None, *, limit: int = BATCH_EVENTS
    ) -> Iterator[FeedBatch]:
        """The changes after an offset; see `Source.changes`. A quiet feed yields one batch without events.

        Raises:
            GapError: The feed no longer holds what comes next, or announces a loss; what came before was yielded.
        """
        start = cursor = after
        rows: list[dict[str, Any]] = []
        while True:
            page = self._page(cursor, until, upto)
            if not page.is_last and page.to_offset == cursor:
                raise AnswerError.standing(self._changes.path, self._changes.next_offset)
            rows.extend(page.rows)
            cursor = page.to_offset
            if page.is_last or len(rows) >= limit:
                if not (page.overflow and cursor == start):
                    yield FeedBatch(start, cursor, page.watermark, raw_changes(rows, self._moments))
                start, rows = cursor, []
            if page.overflow:
                raise GapError.overflow(self._manifest.name, start, page.overflow)
            if page.is_last:
                return

    def _page(self, after: str | None, until: datetime | None, upto: str | None) -> Page:
        told = self._asked(after)
        path = self._changes.path
        watermark = moment(picked(told, self._changes.watermark), path, self._changes.watermark)
        reached = self._offset(self._needed(told, self._changes.next_offset, path))
        head = picked(told, self._changes.head_offset)
        events = self._needed(told, self._changes.events, path)
        is_last = not events or (head is not None and reached >= self._offset(head))
        rows: list[dict[str, Any]] = []
        done = after or self._offset(self._changes.start)
        for event in events:
            offset = self._offset(self._needed(event, self._changes.event.offset, path))
            committed = _moment_or_none(picked(event, self._changes.event.commit_time))
            if (upto is not None and offset > upto) or (until is not None and committed and committed >= until):
                before = watermark if committed is None else min(watermark, committed - timedelta(microseconds=1))
                return Page(rows, done, before, is_last=True)
            operation = self._operation(event)
            if operation == "overflow" or (operation == "reread" and self._reread is None):
                before = watermark if committed is None else min(watermark, committed - timedelta(microseconds=1))
                return Page(rows, done, before, is_last=True, overflow=offset)
            rows.extend(self._rows(event, offset, operation))
            done = offset
        if upto is not None and reached >= upto:
            return Page(rows, upto, watermark, is_last=True)
        return Page(rows, reached, watermark, is_last=is_last)

    def _asked(self, after: str | None) -> dict[str, Any]:
        params = {
            self._changes.after_param: self._changes.start if after is None else _bare(after),
            self._changes.limit_param: self._changes.limit,
        }
        try:
            return self._client.get(self._changes.path, params).body
        except GoneError as gone:
            earliest = picked(gone.answer, self._changes.earliest)
            if earliest is None:
                raise GapError.unknown(self._manifest.name, after) from None
            raise GapError.expired(self._manifest.name, after, self._offset(earliest)) from None

    def _rows(self, event: dict[str, Any], offset: str, operation: str | None) -> Iterator[dict[str, Any]]:
        """One raw row per entity that the event names; none where its object is not in the manifest."""
        told = self._changes.event
        object_name = self._objects.get(str(picked(event, told.object)))
        if object_name is None:
            return
        named = picked(event, told.ids) or picked(event, told.many)
        ids = [str(one) for one in named] if isinstance(named, list) else [named]
        payload = json_text(event)
        if operation == "reread" and self._reread is not None:
            for row in self._reread(object_name, [str(one) for one in ids if one is not None]):
                yield row | {"source_position": offset, "payload": payload}
            return
        row = self._row(event, told, object_name, operation) | {"source_position": offset, "payload": payload}
        for entity_id in ids:
            yield row | {"entity_id": None if entity_id is None else str(entity_id), "error": _error(row, entity_id)}

    def _row(self, event: Mapping[str, Any], told: EventMap, object_name: str, operation: str | None) -> dict[str, Any]:
        spec = self._manifest.objects[object_name]
        changed = picked(event, told.changed_fields)
        fields = picked(event, told.fields) or {}
        fault = None
        if not isinstance(fields, dict):
            fields, fault = {}, "malformed: fields"
        if changed is not None and not _is_names(changed):
            changed, fault = None, "malformed: changed_fields"
        return {
            "object": object_name,
            "operation": operation,
            "event_time": picked(event, told.event_time) or picked(event, told.commit_time),
            "processed_time": picked(event, told.commit_time),
            "changed_fields": None if changed is None else [spec.rename.get(name, name) for name in changed],
            "merged_into": picked(event, told.merged_into),
            "fields": spec.named(fields),
            "changed_by": picked(event, told.changed_by),
            "change_origin": picked(event, told.change_origin),
            "error": fault,
        }

    def _operation(self, event: Mapping[str, Any]) -> str | None:
        return self._changes.event.operations.get(str(picked(event, self._changes.event.operation)))

    def _offset(self, given: Any) -> str:
        """An offset as text that sorts bytewise."""
        return str(given).zfill(self._changes.offset_width)

    def _needed(self, told: Mapping[str, Any], field: str, path: str) -> Any:
        found = picked(told, field)
        if found is None:
            raise AnswerError.lacks(path, field)
        return found


def _is_names(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(name, str) for name in given)


def _error(row: Mapping[str, Any], entity_id: Any) -> str | None:
    if row["operation"] is None:
        return "unknown_operation: the manifest does not name it"
    if entity_id is None:
        return "no_key: the event names no entity"
    if row["operation"] == "merge" and row["merged_into"] is None:
        return "no_winner: a merge that names no winner"
    return row["error"]


def _moment_or_none(given: Any) -> datetime | None:
    """A zoned moment; None for anything else, which the row's own error tells."""
    try:
        read = datetime.fromisoformat(str(given))
    except ValueError:
        return None
    return read if read.tzinfo else None


def _bare(offset: str) -> str:
    return offset.lstrip("0") or "0"
