"""What a row of the table is: one work, who does it, and what is to be reached. Declarations only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from crm_platform_tests.benchmarks.made_files import Size

Given = Mapping[str, Path]
"""The files that a work reads, by name."""


@dataclass(frozen=True)
class Local:
    """Runs in a process of our own environment: opens what is given, untimed, and returns what is timed."""

    ready: Callable[[Given], Callable[[], Any]]


@dataclass(frozen=True)
class Foreign:
    """Runs in the peers' environment: the name of a function of `foreign`."""

    function: str


@dataclass(frozen=True)
class Contestant:
    """Somebody who does a work.

    Attributes:
        who: As the table calls it.
        how: How it is run.
        limits: What it cannot do, in words: then its answer is compared where everything is recorded at once.
        answers: Whether what it returns is an answer to compare.
        most_rows: Beyond this size it is not asked.
    """

    who: str
    how: Local | Foreign
    limits: str = ""
    answers: bool = True
    most_rows: int | None = None


@dataclass(frozen=True)
class Found:
    """What was measured of one contestant: the median of its runs, the most memory of any (bytes), how it answered."""

    seconds: float
    peak: int
    runs: int
    answer: str = ""


All = Mapping[tuple[str, str], Found]
"""What was found of every work and contestant, at one size."""


@dataclass(frozen=True)
class Target:
    """What is to be reached: a figure made of what was found, and its limit. None where a part of it is missing."""

    says: str
    figure: Callable[[All, Size], float | None]
    limit: float
    is_least: bool = False

    def is_met(self, figure):
        return figure >= self.limit if self.is_least else figure <= self.limit


@dataclass(frozen=True)
class Work:
    """One work and everybody who does it, ours first.

    Attributes:
        name: For the command line and the results.
        says: For the table, one line.
        made: The files to read: (folder, size, layout, is_at_once).
        contestants: Ours, then the peers.
        targets: What is to be reached.
        tidy: What an answer becomes before it is compared.
    """

    name: str
    says: str
    made: Callable[[Path, Size, str, bool], Given]
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...] = ()
    tidy: Callable[[pl.DataFrame], pl.DataFrame] = lambda answer: answer

    @property
    def ours(self):
        return self.contestants[0]


def times(slower, faster):
    """How many times the seconds of one are those of another; both as (work, who)."""

    def figure(found, _size):
        if slower not in found or faster not in found:
            return None
        return found[slower].seconds / found[faster].seconds

    return figure


def times_fastest(work, ours, peers):
    """How many times the seconds of ours the fastest of the peers takes."""

    def figure(found, _size):
        seconds = [found[work, who].seconds for who in peers if (work, who) in found]
        return min(seconds) / found[work, ours].seconds if seconds and (work, ours) in found else None

    return figure
