"""An object's rows read page by page: by cursor through ties and silent caps, or by id.

What a row's columns are is `landing`'s business; here they become raw changes, for CRMs without a feed and for events
that carry no data.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.sources.client import CrmClient
from crm_platform.sources.errors import AnswerError, ResultCapError, UnsupportedError
from crm_platform.sources.exports import moment
from crm_platform.sources.manifest import Manifest, ObjectSpec
from crm_platform.sources.raw import json_text, moment_columns, raw_changes
from crm_platform.sources.transport import Reads, picked

IDS_PER_REQUEST = 100
REREAD = "reread"
"""The origin of rows that were read as they are now, not told as a change."""


class RowReader:
    """Reads the rows of one CRM's objects."""

    def __init__(self, manifest: Manifest, reads: Reads, client: CrmClient, contracts: Mapping[str, Contract]) -> None:
        """Asks nothing yet."""
        self._manifest = manifest
        self._reads = reads
        self._client = client
        self._moments = moment_columns(contracts)
        pointers = {spec.merges.column for spec in manifest.objects.values() if spec.merges.style == "pointer"}
        self._marks = pointers | {manifest.deletes.flag}
        self._columns = {name: frozenset(contract.columns) for name, contract in contracts.items()}

    def changed(
        self, object_name: str, *, since: datetime | None = None, deleted: bool = False, **filters: str
    ) -> Iterator[pl.DataFrame]:
        """The rows whose cursor column is at least `since` less the manifest's look-back, each once, in cursor order.

        A read that ends is asked for once more from its last time on: a source that stops silently after some rows
        is found out, and read on by ranges of the cursor.

        Args:
            object_name: The object.
            since: From when on; None for all rows.
            deleted: Whether deleted rows are wanted too, where the source serves them.
            filters: Further equality filters, as parameters.

        Yields:
            RAW_CHANGE frames, a page each: full images (operation `snapshot`), their recording time unproven.

        Raises:
            ResultCapError: More rows share one time than the source ever serves.
        """
        spec = self._manifest.spec(object_name)
        asked = {**filters, **self._with_deleted(deleted)}
        start = None if since is None else since - self._reads.cursor.look_back
        seen: set[tuple[str, str]] = set()
        while True:
            served, last, fresh = 0, start, False
            for page in self._pages(spec, start, asked):
                served += len(page)
                rows = [row for row in page if (mark := self._mark(spec, row)) not in seen and not seen.add(mark)]
                last = self._cursor(page[-1]) if page else last
                if rows:
                    fresh = True
                    yield raw_changes([self.raw(object_name, row) for row in rows], self._moments)
            if self._reads.since_param is None or last is None:
                return
            if not fresh:
                if last == start and served:
                    self._refuse_lost_ties(spec, last, served, asked)
                return
            seen = {mark for mark in seen if mark[1] >= _wire(last)}
            start = last

    def by_id(self, object_name: str, ids: list[str]) -> list[dict[str, Any]]:
        """The raw rows of records as they are now, deleted ones included; one that is gone is a delete.

        Raises:
            UnsupportedError: The source does not read by id.
        """
        spec = self._manifest.spec(object_name)
        if self._reads.ids_param is None:
            remedy = "Map gap events to `overflow` in the manifest."
            raise UnsupportedError.without(self._manifest.name, "read by id", remedy)
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(ids), IDS_PER_REQUEST):
            asked = ",".join(ids[first : first + IDS_PER_REQUEST])
            for page in self._pages(spec, None, {self._reads.ids_param: asked, **self._with_deleted(wanted=True)}):
                found |= {key: row for row in page if (key := self._key(spec, row)) is not None}
        return [self._reread(object_name, entity_id, found.get(entity_id)) for entity_id in dict.fromkeys(ids)]

    def _reread(self, object_name: str, entity_id: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """The raw row of a record by its id; of a dead one, when it died is not known."""
        flag, merges = self._manifest.deletes.flag, self._manifest.objects[object_name].merges
        pointer = merges.column if merges.style == "pointer" else None
        if row is not None and not (flag and row.get(flag)):
            return self.raw(object_name, row) | {"operation": "update"}
        winner = row.get(pointer) if row is not None and pointer else None
        return {
            "object": object_name,
            "entity_id": entity_id,
            "operation": "merge" if winner else "delete",
            "merged_into": None if winner is None else str(winner),
            "change_origin": REREAD,
        }

    def raw(self, object_name: str, row: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of RAW_CHANGE for one row as it is now; nothing proves when it was recorded."""
        spec = self._manifest.objects[object_name]
        marks = self._marks - self._columns[object_name]
        fields = spec.named({name: value for name, value in row.items() if name not in marks})
        edited = fields.get(spec.event_time) if spec.event_time else None
        recorded = fields.get(spec.processed_time) if spec.processed_time else None
        entity_id = self._key(spec, row)
        return {
            "object": object_name,
            "entity_id": entity_id,
            "operation": "snapshot",
            "event_time": edited or recorded,
            "processed_time": recorded,
            "source_position": f"{edited or recorded or ''}/{entity_id}",
            "fields": fields,
            "change_origin": REREAD,
            "payload": json_text(row),
            "error": "no_key: the row has no key" if entity_id is None else None,
        }

    def _with_deleted(self, wanted: bool) -> dict[str, str]:
        return {self._reads.deleted_param: "true"} if wanted and self._reads.deleted_param else {}

    def _pages(
        self, spec: ObjectSpec, since: datetime | None, filters: Mapping[str, str]
    ) -> Iterator[list[dict[str, Any]]]:
        path = self._reads.path.format(object=spec.table)
        params: dict[str, str | int] = {**filters, self._reads.limit_param: self._reads.limit}
        if since is not None and self._reads.since_param is not None:
            params[self._reads.since_param] = _wire(since)
        while True:
            told = self._client.get(path, params).body
            rows = picked(told, self._reads.rows)
            if not isinstance(rows, list):
                raise AnswerError.lacks(path, self._reads.rows)
            yield rows
            following = picked(told, self._reads.next)
            if following is None or params.get(self._reads.after_param) == following:
                return
            params[self._reads.after_param] = following

    def _cursor(self, row: Mapping[str, Any]) -> datetime:
        column = self._reads.cursor.column
        return moment(row.get(column), self._reads.path, column)

    def _mark(self, spec: ObjectSpec, row: Mapping[str, Any]) -> tuple[str, str]:
        return str(self._key(spec, row)), _wire(self._cursor(row))

    def _key(self, spec: ObjectSpec, row: Mapping[str, Any]) -> str | None:
        entity_id = spec.named(row).get(spec.key)
        return None if entity_id is None else str(entity_id)

    def _refuse_lost_ties(self, spec: ObjectSpec, last: datetime, served: int, asked: Mapping[str, str]) -> None:
        """A read that ends with rows of one time, and yet is followed by others, was cut off inside that time."""
        beyond = next(self._pages(spec, last + self._reads.cursor.granularity, asked))
        cap = self._reads.result_cap
        if beyond or (cap is not None and served >= cap):
            raise ResultCapError.stuck(self._reads.path.format(object=spec.table), served, last)


def _wire(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
