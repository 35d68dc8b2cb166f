"""How landing refuses or fails: one class per failure, with what, where and how much, and what to do next."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from crm_platform.contracts import PermanentError, TransientError


class LandingLostError(PermanentError):
    """Files of what landed cannot be read; from nothing here can they be derived again.

    Attributes:
        table: The first such table.
    """

    def __init__(self, message: str, *, table: str) -> None:
        super().__init__(message)
        self.table = table

    @classmethod
    def gone(cls, table: str, files: Sequence[str], rows: int, where: str) -> "LandingLostError":
        """Names the table, the first file, how many rows of which stretch are gone, and what heals that."""
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return cls(
            f"Landing cannot be rebuilt: {files[0]}{more}. {rows:,} rows of {table} are gone, {where}. Nothing was written. "
            f"Put the files back from a backup of the lake, or run `crm-platform landing restore {table}`, which reads them "
            "from the CRM once more where it still has them.",
            table=table,
        )

    @classmethod
    def not_readable_again(cls, table: str, why: str) -> "LandingLostError":
        """Says that the CRM does not give the rows once more, and what can be done without them."""
        return cls(
            f"What {table} has lost cannot be read from the CRM again: {why} Nothing was changed. Put the files back from a "
            f"backup, or go on without the rows: `crm-platform landing restore {table} --give-up`; a snapshot of the object then "
            "repairs what it shows.",
            table=table,
        )


class BatchTakenError(TransientError):
    """Another run is landing the same stretch of the feed."""

    @classmethod
    def other_bounds(cls, batch_id: str) -> "BatchTakenError":
        """Names the batch that was opened by somebody else."""
        return cls(
            f"Batch {batch_id} was opened by another run with other bounds. Nothing of it was landed here; "
            "run it again: it goes on after the other."
        )


class FeedBoundsError(PermanentError):
    """A source does not hand over the stretch it was asked for."""

    @classmethod
    def torn(cls, expected: str | None, got: str | None) -> "FeedBoundsError":
        """Says that a batch does not begin where the one before ended."""
        return cls(
            f"A batch of the feed begins after offset {got or 'the start'}, but the one before ended at "
            f"{expected or 'the start'}. Nothing of it was landed; check the source's manifest."
        )

    @classmethod
    def short(cls, batch_id: str, to_offset: str, got: str | None) -> "FeedBoundsError":
        """Says that an open batch cannot be repeated as a whole."""
        return cls(
            f"Open batch {batch_id} must be repeated up to offset {to_offset}, but the feed ends at "
            f"{got or 'its start'}. Check that this is the CRM, or the file, that was landed before."
        )


class SnapshotRefusedError(PermanentError):
    """A snapshot cannot be taken for the day that was asked for."""

    @classmethod
    def past(cls, object_name: str, day: date, now: datetime) -> "SnapshotRefusedError":
        """Says that a past day cannot be exported any more."""
        return cls(
            f"No snapshot of {object_name} was taken on {day}, and by the source's clock it is {now:%Y-%m-%d %H:%M} UTC: "
            "this CRM cannot export a past day. Leave the day without one; the change feed carries its history."
        )

    @classmethod
    def other_day(cls, object_name: str, day: date, finished_at: datetime) -> "SnapshotRefusedError":
        """Says that a dated export is not of the day asked for."""
        return cls(
            f"The dated export of {object_name} for {day} says that it shows {finished_at:%Y-%m-%d %H:%M} UTC. "
            "Nothing was landed; check the manifest's `exports`."
        )


class ExportUnreadableError(TransientError):
    """An export's file cannot be read."""

    @classmethod
    def broken(cls, object_name: str, path: Path, why: str) -> "ExportUnreadableError":
        """Names the file."""
        return cls(
            f"The export of {object_name} in {path.name} cannot be read: {why}. Nothing was landed; export it again."
        )


class DriftError(PermanentError):
    """An export does not fit its contract in a way that would make later data wrong."""

    def __init__(self, message: str, *, object_name: str, day: date, kept: Path, verdict: object) -> None:
        super().__init__(message)
        self.object = object_name
        self.day = day
        self.kept = kept
        self.verdict = verdict

    @classmethod
    def incompatible(cls, object_name: str, day: date, summary: str, kept: Path, verdict: object) -> "DriftError":
        """Names the columns, the day, and the file that was kept."""
        return cls(
            f"The export of {object_name} for {day} does not fit its contract: {summary}. Nothing was landed, the file is "
            f"kept at {kept}. Change the contract, or name the column under `objects.{object_name}.rename` in the manifest, "
            "and run the day again; or run "
            f"`crm-platform snapshot skip {day} --object {object_name}`.",
            object_name=object_name,
            day=day,
            kept=kept,
            verdict=verdict,
        )


class ReleaseError(PermanentError):
    """Quarantined rows cannot be released."""

    @classmethod
    def nothing_raw(cls, table: str, rows: int) -> "ReleaseError":
        """Says that the rows were not refused at landing."""
        return cls(
            f"{rows} rows of {table} were not refused when they landed, and so cannot be landed again. "
            "Mend what quarantined them, and rebuild the history of their days."
        )
