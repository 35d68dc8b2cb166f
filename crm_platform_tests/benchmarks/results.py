"""What was measured, kept as JSON lines: every run, every compared answer, everybody who could not take part.

A line counts for the commit and the machine it was measured on; what others left in the file is not looked at.
"""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from crm_platform_tests.benchmarks.contest import Found

ONCE = 60.0
"""Who takes longer than this many seconds runs once."""


@dataclass(frozen=True)
class Results:
    """The lines of a file that were measured of one code on one machine; `load` is what it bore before we began."""

    path: Path
    commit: str
    machine: str
    load: float = 0.0

    def keep(self, kind, work, who, rows, layout, **said):
        """Adds a line: `run` (seconds, cpu, peak), `answer` (says), `failed` (why, seconds) or `absent` (why)."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        key = {"work": work, "who": who, "rows": rows, "layout": layout, "commit": self.commit, "machine": self.machine}
        said["load"] = self.load
        with self.path.open("a") as file:
            file.write(json.dumps({"kind": kind, **key, "at": at, **said}) + "\n")

    def lines(self):
        if not self.path.exists():
            return []
        read = (json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}"))
        return [one for one in read if (one["commit"], one["machine"]) == (self.commit, self.machine)]

    def of(self, kind, work, who, rows, layout):
        """The lines of one kind about one contestant."""
        asked = (kind, work, who, rows, layout)
        return [
            one for one in self.lines() if tuple(one[key] for key in ("kind", "work", "who", "rows", "layout")) == asked
        ]

    def is_done(self, work, who, rows, layout, rounds):
        """Whether it needs no further run: enough of them, one that took over a minute, or one that failed."""
        runs = self.of("run", work, who, rows, layout)
        if self.of("failed", work, who, rows, layout):
            return True
        return len(runs) >= rounds or (bool(runs) and runs[0]["seconds"] > ONCE)

    def found(self, rows, layout):
        """What all runs of one size come to, by work and contestant."""
        grouped = {}
        for one in self.lines():
            if (one["kind"], one["rows"], one["layout"]) == ("run", rows, layout):
                grouped.setdefault((one["work"], one["who"]), []).append(one)
        return {
            key: Found(median(run["seconds"] for run in runs), max(run["peak"] for run in runs), len(runs))
            for key, runs in grouped.items()
        }

    def ended(self, rows, layout):
        """Who was ended by the clock at one size: the seconds it was given, by work and contestant."""
        return {
            (one["work"], one["who"]): Found(one["seconds"], 0, 0)
            for one in self.lines()
            if (one["kind"], one["rows"], one["layout"]) == ("failed", rows, layout) and one.get("seconds")
        }

    def said(self, kind, work, who, rows, layout):
        """The last word on one contestant, or nothing."""
        lines = self.of(kind, work, who, rows, layout)
        return lines[-1].get("says") or lines[-1].get("why") or "" if lines else ""
