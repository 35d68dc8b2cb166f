"""What the simulated organisation consists of at a moment: tables of numbers that grow, and one day's dice.

The rules by which it changes stand in `companies`, `pipeline` and `activities`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from crm_platform.sandbox.faults import Faults
from crm_platform.sandbox.journal import SECOND, Ints, Journal
from crm_platform.sandbox.vocabulary import COLUMNS

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
LIVING, SOFT_DELETED, GONE, MERGED = 0, 1, 2, 3
Chance = float | npt.NDArray[np.floating[Any]]

SAME = {
    "account": {"domain": "name"},
    "contact": {"first_name": "code", "last_name": "code", "email": "code"},
    "lead": {"email": "name"},
    "owner": {"name": "code", "email": "code"},
}
"""Columns that are read from another column's numbers."""


class Table:
    """Columns of whole numbers that grow together.

    `life` says whether a row lives, `created` when it was entered, `since` when it was last handled so that nothing else
    may happen to it on that day.
    """

    def __init__(self, *columns: str) -> None:
        self.rows = 0
        self._columns = {name: np.zeros(64, np.int64) for name in (*columns, "life", "created", "since")}

    def __getitem__(self, name: str) -> Ints:
        return self._columns[name][: self.rows]

    def add(self, count: int, **values: Ints | int) -> Ints:
        """Appends rows and gives their numbers; columns not named are 0."""
        values.setdefault("created", values.get("since", 0))
        first, self.rows = self.rows, self.rows + count
        for name, column in self._columns.items():
            if len(column) < self.rows:
                grown = np.zeros(max(self.rows, 2 * len(column)), np.int64)
                grown[:first] = column[:first]
                self._columns[name] = grown
            self._columns[name][first : self.rows] = values.get(name, 0)
        return np.arange(first, self.rows, dtype=np.int64)

    def living(self) -> Ints:
        """The rows that live."""
        return np.flatnonzero(self["life"] == LIVING)

    def settled(self, before: int) -> Ints:
        """The rows that live and were last handled before a moment."""
        return np.flatnonzero((self["life"] == LIVING) & (self["since"] < before))


@dataclass(frozen=True)
class Stamps:
    """When rows were edited, when that was committed, and in which transactions: one number each per row."""

    event: Ints
    commit: Ints
    txn: Ints

    def __len__(self) -> int:
        return len(self.commit)

    def of(self, which: Ints | npt.NDArray[np.bool_]) -> "Stamps":
        """Those of some rows."""
        return Stamps(self.event[which], self.commit[which], self.txn[which])


@dataclass
class Day:
    """One simulated day and its dice."""

    number: int
    start: int
    rng: np.random.Generator

    @property
    def pace(self) -> float:
        """How much is done on such a day, against a working day. The epoch was a Thursday."""
        weekday = (self.start // DAY + 3) % 7
        return 1.0 if weekday < 5 else 0.25  # noqa: PLR2004  Saturday is 5

    def count(self, mean: float) -> int:
        """A number of happenings, never far from the mean."""
        return int(mean + self.rng.random())

    def moments(self, count: int) -> Ints:
        """Commit times in working hours, sorted."""
        at = self.start + (7 * HOUR + 12 * HOUR * self.rng.beta(2, 2, count)).astype(np.int64)
        return np.sort(at)

    def before(self, commit: Ints) -> Ints:
        """Edit times shortly before their commits."""
        return commit - 20_000 - self.rng.exponential(400_000, len(commit)).astype(np.int64).clip(max=10 * SECOND)

    def backdated(self, commit: Ints, since: Ints, *, days: float = 4) -> Ints:
        """Edit times long before their commits, but after the entities came to be."""
        back = (self.rng.random(len(commit)) * days * DAY).astype(np.int64) + HOUR
        return np.maximum(commit - back, np.minimum(since + SECOND, commit - 20_000))

    def dealt(self, among: Ints, *rates: Chance) -> list[Ints]:
        """Deals each of `among` into at most one of several lots, with the given chances (of all, or of each)."""
        lots = np.empty(len(among), np.int64)
        lots.fill(len(rates))
        dice, below = self.rng.random(len(among)), np.zeros(len(among))
        for number, rate in enumerate(rates):
            hit = (dice >= below) & (dice < below + rate)
            below = below + rate
            lots[hit] = number
        return [among[lots == number] for number in range(len(rates))]

    def some(self, count: int, below: int) -> Ints:
        """Numbers drawn from [0, below)."""
        return self.rng.integers(0, below, count)

    def code(self, count: int) -> Ints:
        """What names and addresses are read from."""
        return self.rng.integers(0, 1 << 31, count)

    def stamps(self, journal: Journal, count: int) -> Stamps:
        """Transactions at moments of the day."""
        commit = self.moments(count)
        return Stamps(self.before(commit), commit, journal.transactions(count))

    def cents(self, count: int, median: float) -> Ints:
        """Amounts of money in cents, skewed as deals are."""
        return (median * 100 * np.exp(self.rng.normal(0, 0.8, count))).astype(np.int64)


@dataclass
class World:
    """The organisation: who sells, to whom, what, and what is being done about it."""

    accounts_wanted: int
    days: int
    faults: Faults
    journal: Journal
    owners: Table = field(default_factory=lambda: Table("code", "region", "is_active"))
    accounts: Table = field(
        default_factory=lambda: Table(
            *("name", "phone", "billing_address", "industry", "country", "tier", "employees", "annual_revenue"),
            *("currency", "owner_id", "contact", "wins", "merged_at"),
        )
    )
    contacts: Table = field(
        default_factory=lambda: Table("code", "phone", "title", "account_id", "owner_id", "merged_ids")
    )
    leads: Table = field(
        default_factory=lambda: Table(
            *("name", "company", "phone", "source", "status", "employees", "owner_id", "converted_at"),
            *("account_id", "contact_id", "opportunity_id", "quality", "calls"),
        )
    )
    opportunities: Table = field(
        default_factory=lambda: Table(
            *("name", "account_id", "contact_id", "lead_id", "owner_id", "stage", "amount", "currency"),
            *("probability", "close_date", "is_closed"),
        )
    )

    def __getitem__(self, of: str) -> Table:
        return {
            "account": self.accounts,
            "contact": self.contacts,
            "lead": self.leads,
            "opportunity": self.opportunities,
            "owner": self.owners,
        }[of]

    def active_owners(self) -> Ints:
        """The sellers who still work here."""
        return np.flatnonzero(self.owners["is_active"] == 1)

    def image(self, of: str, rows: Ints) -> dict[str, Ints]:
        """Every column of some rows but the key and the time of the edit."""
        held, same = self[of], SAME.get(of, {})
        names = [name for name in COLUMNS[of] if name not in {"id", "created_at", "modified_at"}]
        return {name: held[same.get(name, name)][rows] for name in names} | {"created_at": held["created"][rows]}
