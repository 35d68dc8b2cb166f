"""What people want to hear nothing of for a while: who said so, until when and why; audited.

A mute is a line in `alerts/mutes`, its end another; neither is ever changed.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import polars as pl

from crm_platform.alerts.problems import Key, Problem
from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.lake import Lake, audit

TABLE = "alerts/mutes"
MUTES = pl.Schema(
    {
        "pattern": pl.String(),
        "until": UTC_US,
        "by": pl.String(),
        "why": pl.String(),
        "at": UTC_US,
    }
)


class MuteError(PermanentError):
    """Something cannot be muted or unmuted as asked."""

    @classmethod
    def over(cls, until: datetime) -> "MuteError":
        """Says that the end has passed."""
        return cls(f"A mute until {until.isoformat()} would be over already. Name a moment to come (UTC).")

    @classmethod
    def unknown(cls, pattern: str) -> "MuteError":
        """Says that nothing is muted by this pattern."""
        return cls(f"Nothing is muted by {pattern!r}. `crm-platform alerts list` shows what is.")


@dataclass(frozen=True)
class Mute:
    """A pattern over `kind: subject on place` (`*` for anything), muted by somebody until a moment."""

    pattern: str
    until: datetime
    by: str
    why: str
    at: datetime


def mutes(lake: Lake, now: datetime) -> list[Mute]:
    """The mutes in force: the newest word on each pattern, unless its end has passed."""
    newest = lake.scan(TABLE, schema=MUTES).sort("at").unique("pattern", keep="last", maintain_order=True)
    return [Mute(**row) for row in newest.filter(pl.col("until") > now).sort("pattern").collect().iter_rows(named=True)]


def muted_by(problem: Problem, held: Collection[Mute]) -> Mute | None:
    """The mute that hides a problem; None if none does."""
    words = f"{problem.kind}: {problem.subject}" + (f" on {problem.place}" if problem.place else "")
    plain = f"{problem.kind}: {problem.subject}"
    return next((one for one in held if fnmatchcase(words, one.pattern) or fnmatchcase(plain, one.pattern)), None)


def muted(problems: Mapping[Key, Problem], held: Collection[Mute]) -> set[Key]:
    """Which of the problems are muted."""
    return {key for key, problem in problems.items() if muted_by(problem, held) is not None} if held else set()


def mute(lake: Lake, pattern: str, *, until: datetime, by: str, why: str, now: datetime) -> None:
    """Mutes what fits a pattern until a moment.

    Raises:
        MuteError: The moment has passed.
    """
    if until <= now:
        raise MuteError.over(until)
    _say(lake, Mute(pattern, until, by, why, now), "alerts.mute")


def unmute(lake: Lake, pattern: str, *, by: str, now: datetime) -> None:
    """Ends a mute.

    Raises:
        MuteError: There is none in force by this pattern.
    """
    if all(one.pattern != pattern for one in mutes(lake, now)):
        raise MuteError.unknown(pattern)
    _say(lake, Mute(pattern, now, by, "", now), "alerts.unmute")


def _say(lake: Lake, said: Mute, action: str) -> None:
    lake.append(TABLE, pl.DataFrame([vars(said)], schema=MUTES), token=f"{action}:{said.pattern}:{said.at.isoformat()}")
    detail = {"until": said.until.astimezone(UTC).isoformat(), "why": said.why}
    audit(lake, actor=said.by, action=action, subject=said.pattern, detail=detail, at=said.at)
