"""Bulk exports: a job is made, waited for, downloaded part by part, and checked to be whole.

The files stay as delivered; what their columns are is `landing`'s business.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from crm_platform.sources.batch import ExportFile
from crm_platform.sources.client import CrmClient
from crm_platform.sources.errors import (
    AnswerError,
    BrokenExportError,
    ExportFailedError,
    ExportPendingError,
    UnsupportedError,
)
from crm_platform.sources.manifest import Manifest
from crm_platform.sources.transport import Exports, Format, picked

JOBS = 3
"""How often a job that failed on the CRM's side is made anew."""
FETCHES = 2
"""How often a part is fetched that came as no whole file."""


def end_of(day: date) -> datetime:
    """The last moment of a UTC day: what a dated export of that day shows."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) - timedelta(microseconds=1)


class Exporter:
    """Makes bulk exports of one CRM."""

    def __init__(
        self,
        manifest: Manifest,
        exports: Exports,
        client: CrmClient,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts nothing yet."""
        self._manifest = manifest
        self._exports = exports
        self._client = client
        self._sleep = sleep
        self._clock = clock

    def export(self, object_name: str, *, day: date | None, into: Path, form: Format | None = None) -> ExportFile:
        """One file per part in the folder `into`, whole or not there.

        Args:
            object_name: The object.
            day: The UTC day whose end the export shows; None for the present.
            into: A folder; it is made where it is missing.
            form: The format; None for the manifest's first.

        Raises:
            UnsupportedError: Exports of this source cannot be dated, or not of this format.
            ExportFailedError: The CRM could not make it.
            TransientError: It was not ready or not whole in the attempts allowed.
        """
        spec = self._manifest.spec(object_name)
        form = form or self._exports.formats[0]
        if form not in self._exports.formats:
            remedy = f"Ask for one of: {', '.join(self._exports.formats)}."
            raise UnsupportedError.without(self._manifest.name, f"export as {form}", remedy)
        if day is not None and not self._exports.dated:
            remedy = "A past day that was never taken cannot be had."
            raise UnsupportedError.without(self._manifest.name, f"dated export (wanted: {day})", remedy)
        as_of = None if day is None else end_of(day).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for _ in range(JOBS):
            job = self._finished(object_name, self._create(spec.table, form, as_of))
            if job is None:
                continue
            paths = self._download(object_name, str(picked(job, self._exports.id)), into, form)
            if paths is not None:
                return self._file(object_name, job, paths, form)
        raise ExportFailedError.tried(self._manifest.name, object_name, JOBS)

    def _create(self, table: str, form: Format, as_of: str | None) -> str:
        def filled(text: str) -> str | None:
            return as_of if text == "{as_of}" else text.format(object=table, format=form, as_of=as_of or "")

        body = {name: filled(text) for name, text in self._exports.create_body.items()}
        answer = self._client.request("POST", self._exports.create_path, body=body)
        job = picked(answer.body, self._exports.id)
        if job is None:
            raise AnswerError.lacks(self._exports.create_path, self._exports.id)
        return str(job)

    def _finished(self, object_name: str, job: str) -> dict[str, Any] | None:
        """The finished job as the CRM tells it; None where it failed."""
        patience = self._exports.poll_total.total_seconds()
        began = self._clock()
        while True:
            told = self._client.get(self._exports.poll_path.format(id=job)).body
            status = picked(told, self._exports.status)
            if status in self._exports.done:
                return told
            if status in self._exports.failed:
                return None
            if self._clock() - began > patience:
                raise ExportPendingError.waited(self._manifest.name, object_name, patience)
            self._sleep(self._exports.poll_interval.total_seconds())

    def _download(self, object_name: str, job: str, into: Path, form: Format) -> list[Path] | None:
        """The parts on disk; None where the CRM has no content to show for the job."""
        paths: list[Path] = []
        for part in self._parts(object_name, job, into, form):
            if part is None:
                return None
            paths.append(part)
        return paths

    def _parts(self, object_name: str, job: str, into: Path, form: Format) -> Iterator[Path | None]:
        part: str | None = self._exports.first_part
        seen: set[str] = set()
        while part is not None and part not in seen:
            seen.add(part)
            file = into / f"{object_name}-{_bare(job)}-{len(seen):05d}.{form}"
            locator = self._fetched(object_name, self._exports.download_path.format(id=job, part=part), file, form)
            if locator is None:
                yield None
                return
            yield file
            part = None if locator in ("", self._exports.last_part) else locator

    def _fetched(self, object_name: str, path: str, file: Path, form: Format) -> str | None:
        """The locator of the next part ("" where none is told); None where the part has no content."""
        for _ in range(FETCHES):
            answer = self._client.download(path, file)
            if answer is None:
                return None
            if row_count(file, form) is not None:
                header = self._exports.next_part_header
                return answer.headers.get(header, "") if header else ""
            file.unlink()
        raise BrokenExportError.unreadable(file, object_name, form)

    def _file(self, object_name: str, job: dict[str, Any], paths: list[Path], form: Format) -> ExportFile:
        rows = sum(row_count(path, form) or 0 for path in paths)
        told = picked(job, self._exports.rows)
        if isinstance(told, int) and told != rows:
            for path in paths:
                path.unlink()
            raise BrokenExportError.short(object_name, rows, told)
        return ExportFile(
            paths=paths,
            format=form,
            object=object_name,
            started_at=self._moment(job, self._exports.started_at),
            finished_at=self._moment(job, self._exports.finished_at),
            complete=True,
            rows=rows,
        )

    def _moment(self, job: dict[str, Any], path: str) -> datetime:
        return moment(picked(job, path), self._exports.poll_path, path)


def moment(given: Any, path: str, field: str) -> datetime:
    """A moment from an answer, in UTC.

    Raises:
        AnswerError: It is missing, no ISO-8601 time, or has no zone.
    """
    if given is None:
        raise AnswerError.lacks(path, field)
    try:
        read = datetime.fromisoformat(str(given))
    except ValueError:
        raise AnswerError.timeless(path, field) from None
    if read.tzinfo is None:
        raise AnswerError.timeless(path, field)
    return read.astimezone(UTC)


def row_count(file: Path, form: Format) -> int | None:
    """The rows of an export's part; None where it is no whole file of its format."""
    try:
        if form == "parquet":
            rows = pl.scan_parquet(file)
        elif form == "csv":
            rows = pl.scan_csv(file, infer_schema=False)
        else:
            lines = pl.scan_lines(file)
            rows = lines.filter(pl.all().str.strip_chars() != "")
        return rows.select(pl.len()).collect().item()
    except pl.exceptions.NoDataError:
        return 0
    except (pl.exceptions.PolarsError, OSError):
        return None


def _bare(job: str) -> str:
    """A job's id as a file name may hold it."""
    return "".join(letter if letter.isalnum() else "_" for letter in job)
