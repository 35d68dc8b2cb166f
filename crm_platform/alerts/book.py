"""What the alerts know, kept in the lake: how far runs were read, what is open, what each target was told.

One row, replaced in one commit, so that what was read and what is to be sent move together. Nothing is decided here.
"""

from collections.abc import Mapping
from datetime import datetime

import polars as pl
from pydantic import Field

from crm_platform.alerts.news import Ledger
from crm_platform.alerts.problems import Frozen, Key, Problem
from crm_platform.lake import Lake

TABLE = "alerts/book"
BOOK = pl.Schema({"book": pl.String()})


class Book(Frozen):
    """What is known after a tick.

    Runs that ended are read up to `read_to` (None before the first tick), and once more over the last minute of it, where
    `seen` names those that are known, with when they were touched last: clocks of workers differ.
    """

    read_to: datetime | None = None
    seen: Mapping[str, datetime] = Field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    ledgers: Mapping[str, Ledger] = Field(default_factory=dict)

    @property
    def open(self) -> dict[Key, Problem]:
        """What is wrong, by key."""
        return {problem.key: problem for problem in self.problems}

    def ledger(self, target: str) -> Ledger:
        """What a target knows; a new one knows nothing."""
        return self.ledgers.get(target, Ledger())


def load_book(lake: Lake) -> Book:
    """The book as it was kept last; an empty one before the first tick."""
    kept = lake.scan(TABLE, schema=BOOK).collect()
    return Book.model_validate_json(kept.item()) if kept.height else Book()


def keep_book(lake: Lake, book: Book) -> None:
    """Replaces the book; an equal one commits nothing."""
    lake.overwrite(TABLE, pl.DataFrame({"book": [book.model_dump_json()]}, schema=BOOK))
