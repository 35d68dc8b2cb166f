"""Asynchronous exports: asked for, made in the background, downloaded in parts.

A live export holds what lives now; a dated one what was known to live at a moment. `null_locator` bends them here.
"""

import hashlib
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

import polars as pl

from crm_platform.sandbox.changelog import ChangeLog
from crm_platform.sandbox.clock import Clock
from crm_platform.sandbox.faults import NullLocator
from crm_platform.sandbox.presentation import Presentation
from crm_platform.sandbox.refusals import CallRefusedError
from crm_platform.sandbox.vocabulary import COLUMNS, OBJECTS
from crm_platform.sandbox.wire import Format, moment_text, save

Status = Literal["queued", "running", "completed", "failed"]
PATIENCE = 0.2
"""Seconds for which asking waits, so that a small export is finished at the first poll."""


@dataclass
class Job:
    """One export: what was asked for, how far it is, the parts that are there."""

    id: str
    object: str
    format: Format
    as_of: datetime | None
    status: Status = "queued"
    started_at: str | None = None
    finished_at: str | None = None
    rows: int | None = None
    error: str | None = None
    files: list[Path] = field(default_factory=list)


class Exports:
    """All exports that were asked for since the server started."""

    def __init__(
        self, log: ChangeLog, clock: Clock, presentation: Presentation, *, part_rows: int, fault: NullLocator | None
    ) -> None:
        self.log = log
        self.clock = clock
        self.presentation = presentation
        self.part_rows = part_rows
        self.fault = fault
        self._folder = tempfile.TemporaryDirectory(prefix="crm-sandbox-")
        self._jobs: dict[str, Job] = {}
        self._asked: Counter[str] = Counter()
        self._numbers = count(1)
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="sandbox-export")

    def ask(self, of: str, form: Format, as_of: datetime | None) -> Job:
        """Queues an export, and gives a small one the time to be made.

        Raises:
            CallRefusedError: The object is unknown, or the moment lies in the future.
        """
        if of not in OBJECTS:
            raise CallRefusedError.unknown_object(of)
        if as_of and as_of > self.clock.now():
            raise CallRefusedError.future("as_of")
        job = Job(f"exp-{next(self._numbers):06d}", of, form, as_of.astimezone(UTC) if as_of else None)
        self._jobs[job.id] = job
        self._asked[of] += 1
        fails = self.fault is not None and self._asked[of] <= self.fault.failures
        made = self._workers.submit(self._fail if fails else self._make, job)
        wait([made], timeout=PATIENCE)
        return job

    def told(self, number: str) -> dict[str, str | int | None]:
        """How far an export is.

        Raises:
            CallRefusedError: There is no such export.
        """
        job = self._job(number)
        done = job.status == "completed" and self.fault is None
        names = ("id", "status", "object", "format", "started_at", "finished_at", "rows", "error")
        return {name: getattr(job, name) for name in names} | {"parts": len(job.files) if done else None}

    def part(self, number: str, part: int) -> tuple[Job, Path | None]:
        """The file of a part, counted from 1; None for an export that failed.

        Raises:
            CallRefusedError: There is no such export or part, or it is not finished.
        """
        job = self._job(number)
        if job.status == "failed":
            return job, None
        if job.status != "completed":
            raise CallRefusedError.not_ready(number)
        if not 1 <= part <= len(job.files):
            raise CallRefusedError.unknown_part(number, part)
        return job, job.files[part - 1]

    def close(self) -> None:
        """Forgets everything."""
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()

    def _job(self, number: str) -> Job:
        if number not in self._jobs:
            raise CallRefusedError.unknown_export(number)
        return self._jobs[number]

    def _fail(self, job: Job) -> None:
        job.error = "The export was aborted by the server. Ask for it again."
        job.status = "failed"

    def _make(self, job: Job) -> None:
        job.status = "running"
        now = self.clock.now()
        at = job.as_of or now
        try:
            state = self.log.state(job.object, as_of=at, clock=now)
            living = state.filter(~pl.col("_deleted")).select(list(COLUMNS[job.object]))
            starts = range(0, max(living.height, 1), self.part_rows)
            files = [
                self._saved(job, living.slice(start, self.part_rows), place, at) for place, start in enumerate(starts)
            ]
        except (OSError, pl.exceptions.PolarsError) as broken:
            job.error = f"The export could not be written: {type(broken).__name__}. Look at the server's disk."
            job.status = "failed"
            return
        job.started_at = moment_text(at)
        job.finished_at = moment_text(job.as_of or self.clock.now())
        job.rows, job.files = living.height, files
        job.status = "completed"

    def _saved(self, job: Job, rows: pl.DataFrame, place: int, at: datetime) -> Path:
        path = Path(self._folder.name) / f"{job.id}-{place + 1:04d}.{job.format}"
        save(self.presentation.shaped(rows, job.object, at, first_page=place == 0), path, job.format)
        return path


def etag(path: Path) -> str:
    """What tells one content of a part from another."""
    with path.open("rb") as content:
        return f'"{hashlib.file_digest(content, "sha256").hexdigest()[:32]}"'
