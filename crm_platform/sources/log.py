"""A recorded change log followed like a feed: lines, transactions, merges, watermarks.

What one line says stands in `debezium`. Lines may repeat, as deliveries at least once do. An offset is a line's number
with a checksum of it, so that a log is known again, and a loss inside it is found before anything of it lands.
"""

import gzip
import json
import zlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import polars as pl

from crm_platform.contracts import Contract, contracts_in
from crm_platform.sources.batch import BATCH_EVENTS, ExportFile, FeedBatch, Head
from crm_platform.sources.debezium import (
    MESSAGE,
    RowEvent,
    key_of,
    marker,
    raw_row,
    row_event,
    tombstone_row,
    unwrapped,
)
from crm_platform.sources.errors import LogError, UnsupportedError
from crm_platform.sources.manifest import Manifest
from crm_platform.sources.raw import moment_columns, raw_changes
from crm_platform.sources.transactions import Index, Notes
from crm_platform.sources.transport import DebeziumTransport, picked

OFFSET_WIDTH = 20
GZIP = b"\x1f\x8b"


def recorded_log(path: str | Path, manifest: Manifest) -> "RecordedLog":
    """Opens a recorded Debezium log, .jsonl or .jsonl.gz: one `{topic, key, value}` per line, in commit order.

    Raises:
        LogError: There is no such file.
        UnsupportedError: The manifest is not that of a log.
    """
    if manifest.debezium is None:
        raise UnsupportedError.without(manifest.name, "recorded log", "Use a manifest whose transport is debezium_log.")
    file = Path(path)
    if not file.is_file():
        raise LogError.absent(file)
    return RecordedLog(file, manifest, manifest.debezium, contracts_in(manifest.contracts))


@dataclass(frozen=True)
class Line:
    """One line of the log: its number, its text, what is written there (nothing: empty), and of which object."""

    number: int
    text: str
    read: Mapping[str, Any]
    object: str | None

    @property
    def key(self) -> Any:
        """The message's key."""
        return self.read.get("key")

    @property
    def value(self) -> Any:
        """The message's value; None for a tombstone."""
        return self.read.get("value")


@dataclass(frozen=True)
class RecordedLog:
    """A log on disk that can be followed like a feed, and asked for its head."""

    file: Path
    manifest: Manifest
    transport: DebeziumTransport
    contracts: Mapping[str, Contract]

    @cached_property
    def topics(self) -> dict[str, str]:
        """The object that each topic carries."""
        return {self.transport.topic.format(table=spec.table): name for name, spec in self.manifest.objects.items()}

    def head(self) -> Head:
        """The last line, and the last commit time.

        Raises:
            LogError: The log holds no event, or a line is broken.
        """
        last = self.index.commits.get_column("committed").max()
        if last is None:
            raise LogError.empty(self.file)
        return Head(self._offset(self.index.lines), cast("datetime", last), self._offset(1))

    def changes(
        self, after: str | None, until: datetime | None = None, upto: str | None = None, *, limit: int = BATCH_EVENTS
    ) -> Iterator[FeedBatch]:
        """The changes after a line; see `Source.changes`. A quiet end yields one batch without events.

        Raises:
            LogError: A line is broken, lines are missing, or the log is not the one that `after` comes from.
        """
        start = self._place(after)
        last = self._last_line(start, until, upto)
        if last < start:
            return
        rows: list[dict[str, Any]] = []
        done = start
        for line in self._parsed(start, last):
            rows.extend(self._rows(line))
            if len(rows) >= limit:
                yield self._batch(done, line.number, rows)
                done, rows = line.number, []
        if rows or done < last or done == start:
            yield self._batch(done, last, rows)

    def export(self, object_name: str, *, day: date | None, into: Path) -> ExportFile:
        """Refuses: a log has no exports."""
        del day, into
        remedy = "Follow its changes instead."
        raise UnsupportedError.without(self.manifest.name, f"bulk export of {object_name}", remedy)

    @cached_property
    def index(self) -> Index:
        """One pass over the whole log, in which whatever it has lost shows.

        Raises:
            LogError: A line is broken, or lines are missing.
        """
        noted, marks, counted = Notes(), array("L"), 0
        for line in self._parsed(0, None):
            marks.append(zlib.crc32(line.text.encode()))
            counted = self._counted(line, counted)
            if (event := self._event(line)) is not None:
                noted.note(line.number, event, paired=self._paired(event.object))
            elif (ended := marker(self.transport, self.topics, line.read)) is not None:
                noted.mark(line.number, ended)
        index = noted.index(marks)
        for loss in noted.losses:
            raise LogError.incomplete(self.file, loss.line, loss.object, loss.held, loss.told)
        return index

    def _counted(self, line: Line, counted: int) -> int:
        """The recorder's count so far: a line may repeat, none may be left out."""
        told = picked(line.read, self.transport.number)
        if not isinstance(told, int):
            return counted
        if told > counted + 1:
            raise LogError.skipped(self.file, line.number, counted + 1, told)
        return max(told, counted)

    def _offset(self, number: int) -> str:
        return f"{number:0{OFFSET_WIDTH}d}-{self.index.marks[number - 1]:08x}"

    def _place(self, offset: str | None) -> int:
        """The line that an offset names, if it is the line that it was."""
        if offset is None:
            return 0
        number = int(offset.partition("-")[0])
        if number > self.index.lines or self._offset(number) != offset:
            raise LogError.another(self.file, number, self.index.lines)
        return number

    def _paired(self, object_name: str) -> bool:
        return self.manifest.objects[object_name].merges.style == "transaction_pair"

    def _last_line(self, start: int, until: datetime | None, upto: str | None) -> int:
        last = self.index.lines if upto is None else self._place(upto)
        if until is not None:
            beyond = self.index.commits.filter(pl.col("line") > start, pl.col("committed") >= until)
            first = beyond.get_column("line").min()
            last = last if first is None else min(last, cast("int", first) - 1)
        return last

    def _batch(self, start: int, end: int, rows: list[dict[str, Any]]) -> FeedBatch:
        events = raw_changes(rows, moment_columns(self.contracts))
        return FeedBatch(None if start == 0 else self._offset(start), self._offset(end), self._watermark(end), events)

    def _watermark(self, line: int) -> datetime:
        """Just before the earliest commit that is still to come, or at the log's end its last commit."""
        commits = self.index.commits
        coming = commits.filter(pl.col("line") > line).get_column("committed")
        if coming.len() == 0:
            return self.head().time
        return cast("datetime", coming.dt.offset_by("-1us").min())

    @cached_property
    def _ends(self) -> dict[int, int]:
        """The end of its transaction per line, in µs since the epoch."""
        commits = self.index.commits
        return dict(zip(commits["line"], commits["committed"].cast(pl.Int64), strict=True))

    def _rows(self, line: Line) -> Iterator[dict[str, Any]]:
        """What a line of one of the manifest's objects says; nothing of any other line."""
        if line.object is None:
            return
        event, spec = self._event(line), self.manifest.objects[line.object]
        if event is not None:
            yield raw_row(
                event,
                line.text,
                transport=self.transport,
                spec=spec,
                contract=self.contracts[line.object],
                committed=self._ends.get(line.number),
                winner=self.index.merges.get((event.transaction or "", event.object, event.entity_id or "")),
            )
        elif unwrapped(line.value)[1] is None:
            entity = key_of(spec, unwrapped(line.key)[1])
            if (line.object, str(entity)) not in self.index.deleted:
                yield tombstone_row(line.object, entity, line.text)

    def _event(self, line: Line) -> RowEvent | None:
        if line.object is None or unwrapped(line.value)[1] is None:
            return None
        event = row_event(self.transport, line.object, self.manifest.objects[line.object], line.key, line.value)
        return None if event.op == MESSAGE else event

    def _parsed(self, start: int, last: int | None) -> Iterator[Line]:
        """The lines after `start`, up to and with `last`."""
        number = 0
        try:
            with _opened(self.file) as lines:
                for number, text in enumerate(lines, 1):
                    if last is not None and number > last:
                        return
                    if number > start:
                        yield self._line(number, text.strip())
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise LogError.unreadable(self.file, number + 1, "the compressed file is cut off or broken") from None
        except UnicodeDecodeError:
            raise LogError.unreadable(self.file, number + 1, "no text in UTF-8") from None

    def _line(self, number: int, text: str) -> Line:
        if not text:
            return Line(number, text, {}, None)
        try:
            read = json.loads(text)
        except json.JSONDecodeError as broken:
            why = f"no JSON at column {broken.colno}"
            raise LogError.unreadable(self.file, number, why) from None
        if not isinstance(read, dict) or "topic" not in read or "value" not in read:
            raise LogError.unreadable(self.file, number, "an event is an object with topic, key and value")
        return Line(number, text, read, self.topics.get(read["topic"]))


def _opened(file: Path) -> Any:
    """The log's text, compressed or not: its first bytes tell, whatever it is called."""
    with file.open("rb") as raw:
        compressed = raw.read(len(GZIP)) == GZIP
    return gzip.open(file, "rt", encoding="utf-8") if compressed else file.open(encoding="utf-8")
