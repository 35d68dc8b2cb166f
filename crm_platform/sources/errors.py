"""What can go wrong while a CRM is read, one class per failure.

Messages name the request's method and path, never its query, body, headers or answer: those may hold people's data.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from crm_platform.contracts import PermanentError, TransientError


class ManifestError(PermanentError):
    """A manifest cannot be used; `file` and `place` (a path inside it) say where."""

    def __init__(self, message: str, *, file: str, place: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.place = place

    @classmethod
    def unknown(cls, name: str, known: list[str]) -> "ManifestError":
        """Says that no manifest has this name, and no file this path."""
        return cls(
            f"There is no manifest {name!r}: neither a file nor one of the bundled ones ({', '.join(known)}). "
            "Give one of these names, or the path of a YAML file.",
            file=name,
        )

    @classmethod
    def unreadable(cls, file: Path, line: int, why: str) -> "ManifestError":
        """Says that the file is no YAML mapping."""
        return cls(f"{file}, line {line}: {why}. Mend the YAML there.", file=str(file))

    @classmethod
    def broken(cls, file: Path, place: str, why: str, remedy: str, more: int = 0) -> "ManifestError":
        """Says what is wrong at one place of the file."""
        further = f" ({more} more place{'s' if more > 1 else ''} to mend after that.)" if more else ""
        return cls(f"{file}: {place}: {why}. {remedy}{further}", file=str(file), place=place)


class CredentialsError(PermanentError):
    """The credentials that a manifest asks for were not given."""

    @classmethod
    def missing(cls, source: str, names: list[str], variables: list[str]) -> "CredentialsError":
        """Says which credentials lack, and which variables would give them."""
        return cls(
            f"{source} needs credentials that were not given: {', '.join(names)}. Set {', '.join(variables)} and run again."
        )


class UnreachableError(TransientError):
    """The CRM did not answer, or answered with an error that may pass; `wait` is what it asks for, in seconds."""

    wait: float | None = None


class ThrottledError(TransientError):
    """The CRM asked for more patience than a run has."""


class TruncatedError(TransientError):
    """A body ended before its announced end, or is not the whole it must be."""


class GoneError(PermanentError):
    """The CRM no longer holds what was asked for; `answer` is what it said, for whoever knows its fields."""

    def __init__(self, message: str, answer: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.answer = answer

    @classmethod
    def answered(cls, call: object, status: int, answer: Mapping[str, Any]) -> "GoneError":
        """Says which request met a gap."""
        return cls(f"{call} was answered {status}: what it asks for is gone. Take a snapshot, then resume.", answer)


class ExportPendingError(TransientError):
    """An export was not ready in the time allowed."""

    @classmethod
    def waited(cls, source: str, object_name: str, seconds: float) -> "ExportPendingError":
        """Says how long was waited."""
        return cls(
            f"The export of {object_name} from {source} was not ready after {seconds:.0f} s. "
            "Run again later, or raise `poll_total` in the manifest."
        )


class ExportFailedError(PermanentError):
    """The CRM could not make an export, however often it was asked."""

    @classmethod
    def tried(cls, source: str, object_name: str, jobs: int) -> "ExportFailedError":
        """Says how many jobs failed."""
        return cls(
            f"{source} failed to export {object_name}: {jobs} jobs in a row ended without a result. "
            "Look at the jobs in the CRM, then run again."
        )


class BrokenExportError(TransientError):
    """A downloaded file is not the whole it must be; nothing of it is used."""

    @classmethod
    def unreadable(cls, file: Path, object_name: str, form: str) -> "BrokenExportError":
        """Says which file is no whole file of its format."""
        return cls(
            f"{file.name}, a part of the export of {object_name}, is no whole {form} file, also when fetched again. "
            "It was removed; run again, and ask the CRM's operator if it stays so."
        )

    @classmethod
    def short(cls, object_name: str, rows: int, told: int) -> "BrokenExportError":
        """Says that rows are missing or too many."""
        return cls(
            f"The export of {object_name} holds {rows} rows, but the CRM counted {told}. Nothing of it is used: run again."
        )


class QuotaError(PermanentError):
    """The CRM's quota is used up; more requests would not help before it resets."""


class AuthError(PermanentError):
    """The CRM does not accept who we are, or what we may do."""


class RefusedError(PermanentError):
    """The CRM refuses the request itself."""


class AnswerError(PermanentError):
    """The CRM's answer has not the shape that the manifest promises."""

    @classmethod
    def lacks(cls, path: str, field: str) -> "AnswerError":
        """Says which part of an answer is missing."""
        return cls(
            f"The answer of {path} has no {field!r}, which the manifest says is there. "
            "Compare the manifest with what the CRM delivers."
        )

    @classmethod
    def standing(cls, path: str, field: str) -> "AnswerError":
        """Says that a feed hands out events and yet does not move on."""
        return cls(
            f"{path} hands out events, but {field!r} does not move on and the head is not reached: reading it would never "
            "end. Compare the manifest with what the CRM delivers."
        )

    @classmethod
    def timeless(cls, path: str, field: str) -> "AnswerError":
        """Says that a moment in an answer has no zone, or is no moment."""
        return cls(
            f"{field!r} in the answer of {path} is no ISO-8601 time with a zone. "
            "A time without a zone is never guessed: let the CRM or the manifest name the right field."
        )


class UnknownObjectError(PermanentError):
    """An object was asked for that the manifest does not declare."""

    @classmethod
    def named(cls, source: str, object_name: str, known: list[str]) -> "UnknownObjectError":
        """Says which objects there are."""
        return cls(f"{source} has no object {object_name!r}. Ask for one of: {', '.join(known)}.")


class UnsupportedError(PermanentError):
    """A source was asked for something that its manifest says it cannot do."""

    @classmethod
    def without(cls, source: str, what: str, remedy: str) -> "UnsupportedError":
        """Says what the source lacks."""
        return cls(f"{source} has no {what}. {remedy}")


class GapError(PermanentError):
    """The feed no longer holds, or never held, what lies between two offsets.

    Attributes:
        after: The last offset that was read; None where nothing was.
        resume: The offset after which the feed can be read again.
    """

    def __init__(self, message: str, *, after: str | None, resume: str | None) -> None:
        super().__init__(message)
        self.after = after
        self.resume = resume

    @classmethod
    def expired(cls, source: str, after: str | None, earliest: str) -> "GapError":
        """Says that the source has dropped a range; `earliest` is the first offset it still holds."""
        first = "its first event" if after is None else f"offset {_bare(after)}"
        return cls(
            f"{source} no longer holds the changes after {first} and before offset {_bare(earliest)}: "
            "they are past its retention. Take a snapshot of every object to heal the gap, then resume the feed there: "
            "`crm-platform feed skip`, and materialize landing/changes/* and landing/snapshot/*.",
            after=after,
            resume=_before(earliest),
        )

    @classmethod
    def unknown(cls, source: str, after: str | None) -> "GapError":
        """Says that the source does not know an offset that it once gave."""
        first = "its start" if after is None else f"offset {_bare(after)}"
        return cls(
            f"{source} does not know {first}: its feed was reset, or the lake was built from another one. "
            "Take a snapshot of every object into a lake of its own, then follow the feed from its head.",
            after=after,
            resume=None,
        )

    @classmethod
    def overflow(cls, source: str, after: str | None, offset: str) -> "GapError":
        """Says that the source announced a loss without saying which records it touches."""
        first = "its start" if after is None else f"offset {_bare(after)}"
        return cls(
            f"{source} lost changes between {first} and offset {_bare(offset)} and does not say of which records. "
            "Take a snapshot of every object to heal the gap, then resume the feed after it: `crm-platform feed skip`, and "
            "materialize landing/changes/* and landing/snapshot/*.",
            after=after,
            resume=offset,
        )


class LogError(PermanentError):
    """A recorded log cannot be read; `file` and `line` say where."""

    def __init__(self, message: str, *, file: str, line: int = 0) -> None:
        super().__init__(message)
        self.file = file
        self.line = line

    @classmethod
    def unreadable(cls, file: Path, line: int, why: str) -> "LogError":
        """Says which line is broken, and how."""
        return cls(
            f"{file}, line {line}: {why}. Mend or re-record the log; nothing from this line on was read.",
            file=str(file),
            line=line,
        )

    @classmethod
    def skipped(cls, file: Path, line: int, expected: int, found: int) -> "LogError":
        """Says that the recorder's count leaps over lines."""
        lost = f"line {expected} is" if found == expected + 1 else f"lines {expected} to {found - 1} are"
        return cls(
            f"{file}, line {line}: the recorder counts {found} here, so its {lost} missing. Nothing was read; "
            "record that stretch again, or join the pieces of the log in their order.",
            file=str(file),
            line=line,
        )

    @classmethod
    def incomplete(cls, file: Path, line: int, object_name: str, held: int, told: int) -> "LogError":
        """Says that a transaction has not the events that its end announces."""
        return cls(
            f"{file}, line {line}: the transaction that ends here has {told} changes of {object_name}, but the log holds "
            f"{held} of them. Nothing was read; record that stretch again, or join the pieces of the log in their order.",
            file=str(file),
            line=line,
        )

    @classmethod
    def another(cls, file: Path, line: int, lines: int) -> "LogError":
        """Says that a log does not go on from the one that was read before."""
        why = f"it ends at line {lines}" if lines < line else f"its line {line} is another one"
        return cls(
            f"{file} does not continue the log that has landed up to line {line}: {why}. Nothing was read. A log may only "
            "grow: name the one that landed before, or give this one a lake of its own.",
            file=str(file),
            line=line,
        )

    @classmethod
    def absent(cls, file: Path) -> "LogError":
        """Says that there is no such log."""
        return cls(f"There is no log {file}. Name a .jsonl or .jsonl.gz file of Debezium events.", file=str(file))

    @classmethod
    def empty(cls, file: Path) -> "LogError":
        """Says that the log holds no event from which a clock could be read."""
        return cls(f"{file} holds no event of any table in the manifest. Check the manifest's `topic`.", file=str(file))


class ResultCapError(PermanentError):
    """More rows share one cursor value than the source ever serves."""

    @classmethod
    def stuck(cls, path: str, cap: int, at: datetime) -> "ResultCapError":
        """Says where paging cannot go on."""
        return cls(
            f"{path} serves {cap} rows at most, and more rows than that carry the time {at.isoformat()}. "
            "Read the object by bulk export instead."
        )


def _bare(offset: str) -> str:
    return offset.lstrip("0") or "0"


def _before(offset: str) -> str:
    return f"{int(offset) - 1:0{len(offset)}d}" if offset.isdigit() and int(offset) else offset
