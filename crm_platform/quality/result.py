"""What every check answers: one finding per day (or one for the whole table), each saying what, how many, an example.

How a finding is shown, and what it holds back, is the shell's business.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

MOST_EXAMPLES = 20


@dataclass(frozen=True)
class Markdown:
    """Text that is shown as Markdown, such as a picture."""

    text: str


@dataclass(frozen=True)
class Finding:
    """What a check found in one day of a table.

    `day` is None for a finding about the whole table; `failing` of `total` rows broke the rule; `what` is one sentence;
    `examples` holds at most 20 rows that show it: ids, columns and rules, never a person's data. `facts` are shown with
    it whether it passed or not: numbers, words, small frames, Markdown.
    """

    passed: bool
    what: str
    day: dt.date | None = None
    failing: int = 0
    total: int = 0
    examples: pl.DataFrame | None = None
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def example(self) -> str | None:
        """The first example in words; None without any."""
        if self.examples is None or self.examples.is_empty():
            return None
        told = self.examples.row(0, named=True).items()
        return ", ".join(f"{name} {value}" for name, value in told if value is not None)


@dataclass(frozen=True)
class CheckResult:
    """All findings of one check on one table.

    `severity` says what a failure means: `error` where later data would be wrong, `warn` where somebody should look.
    `remedy` says what to do, with the command where there is one: DAY stands for the first day that failed, OBJECT for
    the table's object. `unjudged` are days that were asked for and not looked at, of a check that samples: what is red of
    them stays red. `waiting` are days that cannot be judged now, since they will be built again: nothing is said of them.
    """

    check: str
    table: str
    findings: Sequence[Finding]
    remedy: str
    severity: Literal["warn", "error"] = "error"
    facts: dict[str, object] = field(default_factory=dict)
    unjudged: frozenset[dt.date] = frozenset()
    waiting: frozenset[dt.date] = frozenset()

    @property
    def passed(self) -> bool:
        """Whether no finding failed; a check without findings had nothing to look at and passes."""
        return all(finding.passed for finding in self.findings)

    @property
    def failed_days(self) -> list[dt.date]:
        """The days with a failed finding, in order."""
        return sorted({f.day for f in self.findings if f.day is not None and not f.passed})

    @property
    def failing(self) -> int:
        """Rows that broke the rule, over all findings."""
        return sum(finding.failing for finding in self.findings)

    @property
    def total(self) -> int:
        """Rows looked at, over all findings."""
        return sum(finding.total for finding in self.findings)

    @property
    def advice(self) -> str:
        """The remedy, for the day and the object that failed."""
        day = self.failed_days[0].isoformat() if self.failed_days else "DAY"
        return re.sub(r"\bOBJECT\b", self.table.split("/")[-1], re.sub(r"\bDAY\b", day, self.remedy))

    def summary(self) -> str:
        """One line for people: what failed, where, how many, an example, what to do; or what was looked at."""
        broken = [finding for finding in self.findings if not finding.passed]
        if not broken:
            left = (
                f" {len(self.waiting)} days from {min(self.waiting)} on are to be built again: not judged."
                if self.waiting
                else ""
            )
            return f"{self.check} holds for {self.table}: {self.total:,} rows looked at.{left}"
        where = f" on {broken[0].day}" if broken[0].day else ""
        more = f" and {len(broken) - 1} more findings" if len(broken) > 1 else ""
        rows = f" {self.failing:,} of {self.total:,} rows fail." if self.total else ""
        shown = [finding.example for finding in broken if finding.example][:1]
        example = f" For example {shown[0]}." if shown else ""
        return f"{self.check} fails for {self.table}{where}{more}: {broken[0].what}{rows}{example} {self.advice}"
