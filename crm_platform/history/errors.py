"""How building history refuses: one class per failure, each saying what, where and how much, and what to do next."""

from collections.abc import Sequence
from datetime import date

from crm_platform.contracts import PermanentError


class WindowError(PermanentError):
    """The days asked for are not one stretch."""

    @classmethod
    def no_days(cls, table: str) -> "WindowError":
        """Says that nothing was asked for."""
        return cls(f"No day was asked for of {table}. Ask for one day or for a stretch of days.")

    @classmethod
    def gap(cls, table: str, missing: Sequence[date]) -> "WindowError":
        """Names the days that are missing between the first and the last."""
        return cls(
            f"The days asked for of {table} lack {len(missing)} in between, the first of them {missing[0]}. "
            "History carries its state from day to day: ask for all of them."
        )


class UnbuiltDayError(PermanentError):
    """A day before the window has landed changes and no history."""

    def __init__(self, message: str, *, table: str, day: date) -> None:
        super().__init__(message)
        self.table = table
        self.day = day

    @classmethod
    def before(cls, table: str, day: date, first: date, changes: int) -> "UnbuiltDayError":
        """Names the earliest such day, and how many of its changes history lacks."""
        return cls(
            f"{table} was to be built from {first}, but {changes} versions of {day} are not in it. "
            f"Nothing was written; build from {day} on.",
            table=table,
            day=day,
        )


class SnapshotError(PermanentError):
    """A landed snapshot cannot be read as one."""

    @classmethod
    def several(cls, table: str, day: date, count: int) -> "SnapshotError":
        """Says that one partition holds rows of several exports."""
        return cls(
            f"{table} holds rows of {count} exports on {day}, and one day has one. "
            "Restore the table to the version before the second one landed."
        )
