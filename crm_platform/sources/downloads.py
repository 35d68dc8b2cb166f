"""A file that is being downloaded: what came so far, whether it is whole, and its place when it is.

The bytes come from `client`. What the file must hold is checked in `exports`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

PARTIAL_CONTENT = 206
NOT_SATISFIABLE = 416
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class Partial:
    """A download beside its final place: `<name>.part`, and `<name>.part.etag` with the version it belongs to."""

    def __init__(self, into: Path) -> None:
        """Finds what an earlier attempt, or an earlier process, left behind."""
        self.into = into
        self.part = into.with_name(f"{into.name}.part")
        self._mark = into.with_name(f"{into.name}.part.etag")
        self._expected: int | None = None
        self._file: BinaryIO | None = None

    @property
    def held(self) -> int:
        """Bytes that are here."""
        return self.part.stat().st_size if self.part.exists() else 0

    @property
    def is_whole(self) -> bool:
        """Whether as many bytes are here as were announced; true where nothing was announced."""
        return self._expected is None or self.held == self._expected

    def headers(self) -> dict[str, str]:
        """What asks for the rest only, if the file is still the same one."""
        if self.held and self._version:
            return {"Range": f"bytes={self.held}-", "If-Range": self._version}
        return {}

    @property
    def _version(self) -> str | None:
        return self._mark.read_text(encoding="utf-8") if self._mark.exists() else None

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Gets ready for an answer: goes on where it continues, starts anew where it does not."""
        start, total = _range_of(headers.get("Content-Range"))
        etag = headers.get("ETag")
        goes_on = status == PARTIAL_CONTENT and start == self.held and etag in (None, self._version)
        if status == NOT_SATISFIABLE:
            goes_on = total is not None and total == self.held
            self._expected = total if goes_on else -1
        elif status == PARTIAL_CONTENT:
            self._expected = total if goes_on else -1
        else:
            length = headers.get("Content-Length")
            self._expected = int(length) if length is not None and length.isdigit() else None
        if not goes_on:
            self.into.parent.mkdir(parents=True, exist_ok=True)
            self.part.unlink(missing_ok=True)
            self._mark.unlink(missing_ok=True)
        if etag is not None and not etag.startswith("W/"):
            self._mark.write_text(etag, encoding="utf-8")
        self._file = None if status == NOT_SATISFIABLE or self._expected == -1 else self.part.open("ab")

    def write(self, chunk: bytes) -> None:
        """Appends bytes as they came; those of an answer that does not continue are dropped."""
        if self._file is not None:
            self._file.write(chunk)

    def pause(self) -> None:
        """Puts on disk what came so far."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def finish(self) -> None:
        """Moves the whole file to its place, at once."""
        self.part.replace(self.into)
        self._mark.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forgets everything that came."""
        for file in (self.part, self._mark, self.into):
            file.unlink(missing_ok=True)


def _range_of(header: str | None) -> tuple[int | None, int | None]:
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None:
        return None, None
    start, total = found.groups()
    return (None if start is None else int(start)), (None if total == "*" else int(total))
