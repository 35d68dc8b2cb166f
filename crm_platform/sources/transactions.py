"""What only a whole log tells: when each transaction ended, which deletes were merges, which rows were deleted.

One pass gathers it. Reading lines stands in `log`, reading an envelope in `debezium`.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.sources.debezium import Marker, RowEvent

OPEN_TRANSACTIONS = 10_000
"""How many transactions are remembered while the lines of one may still come."""


@dataclass(frozen=True)
class Index:
    """What only the whole log tells: its last line, every row event's commit, its merges and its deletes.

    `commits` has one row per row event: line, committed (µs). `merges` leads from (transaction, object, loser) to the
    winner. `marks` holds a checksum of every line: by it a log is known again.
    """

    marks: "array[int]"
    commits: pl.DataFrame
    merges: Mapping[tuple[str, str, str], str]
    deleted: frozenset[tuple[str, str]]

    @property
    def lines(self) -> int:
        """How many lines the log has."""
        return len(self.marks)


@dataclass(frozen=True)
class Loss:
    """A transaction that lacks changes: the line that announces them, the object, how many are held and were told."""

    line: int
    object: str
    held: int
    told: int


@dataclass
class Transaction:
    """What is known of a transaction so far: its lines and end, and per object who was deleted and who updated."""

    lines: list[int] = field(default_factory=list)
    end: int | None = None
    held: dict[str, set[str]] = field(default_factory=dict)
    told: tuple[int, Marker] | None = None
    deleted: dict[str, set[str]] = field(default_factory=dict)
    updated: dict[str, set[str]] = field(default_factory=dict)

    def note(self, number: int, event: RowEvent, *, paired: bool) -> None:
        """Takes one event down."""
        self.lines.append(number)
        self.held.setdefault(event.object, set()).add(event.position or f"line {number}")
        if event.committed is not None:
            self.end = max(event.committed, self.end or event.committed)
        if paired and event.entity_id is not None and event.op in ("d", "u"):
            side = self.deleted if event.op == "d" else self.updated
            side.setdefault(event.object, set()).add(event.entity_id)

    def losses(self) -> Iterator[Loss]:
        """Where it holds fewer changes than its end announces."""
        if self.told is not None:
            number, marker = self.told
            for name, told in marker.counts.items():
                held = len(self.held.get(name, ()))
                if held < told:
                    yield Loss(number, name, held, told)

    def merges(self) -> Iterator[tuple[str, str, str]]:
        """Object, loser and winner, where exactly one other row of the deleted one's table was updated."""
        for name, losers in self.deleted.items():
            winners = self.updated.get(name, set()) - losers
            if len(winners) == 1:
                winner = next(iter(winners))
                yield from ((name, loser, winner) for loser in losers)


@dataclass
class Notes:
    """What a pass over the log gathers; a transaction counts once it is complete, or long past."""

    open: OrderedDict[str, Transaction] = field(default_factory=OrderedDict)
    ends: list[tuple[int, int]] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    merges: dict[tuple[str, str, str], str] = field(default_factory=dict)
    deleted: set[tuple[str, str]] = field(default_factory=set)

    def note(self, number: int, event: RowEvent, *, paired: bool) -> None:
        """Takes one event down; `paired` says that its object's merges show as pairs."""
        if event.op == "d" and event.entity_id is not None:
            self.deleted.add((event.object, event.entity_id))
        self._opened(event.transaction or f"line {number}").note(number, event, paired=paired)

    def mark(self, number: int, marker: Marker) -> None:
        """Takes down how many changes a transaction has."""
        self._opened(marker.transaction).told = number, marker

    def _opened(self, name: str) -> Transaction:
        found = self.open.setdefault(name, Transaction())
        if len(self.open) > OPEN_TRANSACTIONS:
            self._close(*self.open.popitem(last=False))
        return found

    def index(self, marks: "array[int]") -> Index:
        """What was gathered, once all lines are noted; `marks` holds a checksum of each."""
        while self.open:
            self._close(*self.open.popitem(last=False))
        frame = pl.DataFrame(self.ends, schema={"line": pl.Int64(), "committed": pl.Int64()}, orient="row")
        commits = frame.sort("line").with_columns(_moment(pl.col("committed")))
        return Index(marks, commits, self.merges, frozenset(self.deleted))

    def _close(self, name: str, transaction: Transaction) -> None:
        if transaction.end is not None:
            self.ends.extend((number, transaction.end) for number in transaction.lines)
        self.losses.extend(transaction.losses())
        for object_name, loser, winner in transaction.merges():
            self.merges[name, object_name, loser] = winner


def _moment(microseconds: pl.Expr) -> pl.Expr:
    return microseconds.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(UTC_US)
