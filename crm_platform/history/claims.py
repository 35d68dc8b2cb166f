"""What a built table claims of itself, and what has changed since: asked of logs, not of the whole past.

Every build's commit says from which versions of its inputs, by which rules and up to which moment the table is right. A
claim is as true as the day it was written; what came after it stands in the logs of the inputs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import polars as pl

from crm_platform.history.carried import midnight
from crm_platform.lake import Commit, Lake, changed_days, differing, note, told

CLAIM = "claim"
EVER = datetime.min.replace(tzinfo=UTC)
"""Before everything: where nothing is known of what changed."""


@dataclass(frozen=True)
class Claim:
    """All that a table holds of what was known before a moment is what its inputs come to.

    Attributes:
        inputs: The version of every input; None for one that did not exist.
        until: The moment, exclusive.
        rules: What stands for the code and the declarations that it was built by.
    """

    inputs: Mapping[str, int | None]
    until: datetime
    rules: str

    def said(self) -> dict[str, str]:
        """The claim as a commit says it."""
        claimed = {"inputs": dict(self.inputs), "until": self.until.isoformat(), "rules": self.rules}
        return {CLAIM: json.dumps(claimed, sort_keys=True)}


def claim_of(lake: Lake, table: str) -> tuple[Claim, int] | None:
    """The newest claim of a table, and the version that says it; None if there is none."""
    found = told(lake, table, CLAIM)
    if found is None:
        return None
    text, version = found
    claimed = json.loads(text)
    return Claim(claimed["inputs"], datetime.fromisoformat(claimed["until"]), claimed["rules"]), version


def next_claim(
    now: Claim, before: tuple[Claim, datetime] | None, since: datetime, *, from_the_first: bool
) -> Claim | None:
    """What may be claimed once a window is built; None if no more than before.

    Args:
        now: What would be claimed had everything been built: `until` is where the window ends.
        before: The claim so far, and up to which moment it holds of the inputs as they are now.
        since: Where the window begins.
        from_the_first: Whether nothing lies before the window.
    """
    if from_the_first:
        return now
    if before is None:
        return None
    claim, holds = before
    if holds < since:
        return Claim(claim.inputs, holds, claim.rules)
    return now if holds < claim.until else Claim(now.inputs, max(now.until, claim.until), now.rules)


def claim_anew(
    lake: Lake, table: str, claim: Claim, schema: pl.Schema | None = None, *, is_doubted: bool = False
) -> Commit | None:
    """Says what holds of unchanged content, where the last claim is of another day, by other rules, or doubted.

    Args:
        lake: The lake.
        table: The table.
        claim: What holds.
        schema: With it, a table that does not exist is made, empty.
        is_doubted: Whether inputs of a past day were written anew since the last claim, and came to the same.
    """
    if schema is None and not lake.exists(table):
        return None
    found = None if is_doubted else claim_of(lake, table)
    if found is not None and found[0].rules == claim.rules and found[0].until.date() >= claim.until.date():
        return None
    return note(lake, table, claim.said(), schema)


@cache
def code_of(rooms: Sequence[str]) -> str:
    """A hash over the sources of some rooms of this package."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(source for room in rooms for source in (package / room).rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def first_change(
    lake: Lake,
    table: str,
    versions: tuple[int | None, int | None],
    *,
    until: datetime,
    schema: pl.Schema,
    known: pl.Expr,
    only: pl.Expr | bool = True,
) -> datetime | None:
    """The least moment at which two versions of a table differ before another moment; None if they do not.

    Args:
        lake: The lake.
        table: A table by days, of which no row is known before its day begins.
        versions: The two versions; None for before the table was made.
        until: The moment, exclusive.
        schema: The columns that matter.
        known: When a row is known.
        only: Which rows matter.

    Returns:
        The moment: the start of the first changed day where old files are gone, EVER where the old log is.
    """
    days = changed_days(lake, table, *versions)
    if days is None:
        return EVER
    days = [day for day in days if midnight(day) < until]
    rows = differing(lake, table, versions, days, schema)
    if rows is None:
        return midnight(days[0])
    found = rows.filter(only).select(known.min()).item()
    return found if found is not None and found < until else None
