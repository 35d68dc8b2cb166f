"""docs/faults.md: one row per fault of the matrix, measured by the run that played it.

A row is written when its fault was played and replaces the one before; rows of faults that are no more are left out.
"""

import fcntl
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HEAD = "| fault | what goes wrong | what tells of it | told after | what waits | remedy | afterwards | green after |\n|---|---|---|---|---|---|---|---|\n"


@dataclass(frozen=True)
class Played:
    """What one fault came to; times in seconds."""

    name: str
    what: str
    told: Sequence[str]
    told_after: float
    waits: Sequence[str]
    remedy: str
    after: str
    green_after: float

    def row(self) -> str:
        """Its row of the table."""
        told = "<br>".join(self.told) or "nobody"
        waits = "<br>".join(self.waits) or "nothing"
        return (
            f"| {self.name} | {self.what} | {told} | {self.told_after:.1f} s | {waits} | {self.remedy} | {self.after} | "
            f"{self.green_after:.1f} s |"
        )


def rows(text: str) -> dict[str, str]:
    """The rows that stand in the file, by fault."""
    inner = text.split(BEGIN)[1].split(END, maxsplit=1)[0]
    found = [line for line in inner.strip().splitlines()[2:] if line.startswith("| ")]
    return {re.split(r" *\| *", line)[1]: line for line in found}


def keep(played: Played, names: Sequence[str]) -> None:
    """Writes a row, in the order of the matrix; processes that play others wait for each other."""
    with FILE.open(encoding="utf-8") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        _keep(played, names)


def _keep(played: Played, names: Sequence[str]) -> None:
    text = FILE.read_text(encoding="utf-8")
    held = rows(text) | {played.name: played.row()}
    table = HEAD + "\n".join(held[name] for name in names if name in held)
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    FILE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
