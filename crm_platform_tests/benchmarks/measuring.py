"""Measures the time kernel beside its peers and writes the table of docs/performance.md: what `make bench` runs.

In every round everybody does the work once, each in a process of its own; before the first one answers are compared. What
a work is stands in `works`, how one run is made in `running`.
"""

import os
import tempfile
from pathlib import Path

import click
import polars as pl
from polars.testing import assert_frame_equal

from crm_platform_tests.benchmarks import machine, table
from crm_platform_tests.benchmarks.contest import Foreign
from crm_platform_tests.benchmarks.environment import AbsentError, peer_versions, python_with
from crm_platform_tests.benchmarks.made_files import LAYOUTS, Size
from crm_platform_tests.benchmarks.results import ONCE, Results
from crm_platform_tests.benchmarks.running import RunError, make, run_once
from crm_platform_tests.benchmarks.works import WORKS

PAGE = machine.REPOSITORY / "docs" / "performance.md"
COMPARED = 1_000_000
"""Who sees one axis only is compared where everything is recorded at once, in a history of at most this size."""


class Contest:
    """One work at one size, measured and kept."""

    def __init__(self, work, size, results, *, folder, layout, rounds, limits, python):
        self.work, self.size, self.results = work, size, results
        self.rounds, self.python = rounds, python
        self.run = {"folder": folder, "layout": layout, "limits": limits}

    def measure(self):
        """Compares answers, then runs everybody in turn; what is kept already is not measured again.

        Returns whether all of ours ran and every compared answer is equal.
        """
        asked = [one for one in self.work.contestants if not self._is_beyond(one)]
        if all(self._is_done(one) for one in asked):
            self._say("measured before")
        else:
            wanted = [(self.size, False), *((self._compared, True) for one in asked if one.limits)]
            make(self.work, dict.fromkeys(wanted), **self.run)
            present = [one for one in asked if self._is_present(one)]
            with tempfile.TemporaryDirectory(dir=self.run["folder"]) as answers:
                self._compare(present, Path(answers))
            for number in range(1, self.rounds + 1):
                for one in present:
                    if not self._is_done(one, number):
                        self._run(one, f"round {number}/{self.rounds}")
        wrong = [one.who for one in asked if self._differs(one)]
        failed = self.results.said("failed", *self._about(self.work.ours))
        return not wrong and not failed

    def _compare(self, present, answers):
        """Everybody's answer beside ours; who differs is not timed."""
        truths = {}
        for one in present:
            if not one.answers or one is self.work.ours or self._is_done(one, 1) or self._said("answer", one):
                continue
            is_at_once = bool(one.limits)
            size = self._compared if is_at_once else self.size
            if is_at_once not in truths:
                truths[is_at_once] = answers / f"ours-{is_at_once}.parquet"
                self._answered(self.work.ours, size, truths[is_at_once], is_at_once=is_at_once)
            theirs = answers / "theirs.parquet"
            if not truths[is_at_once].exists() or not self._answered(one, size, theirs, is_at_once=is_at_once):
                continue
            difference = differing(self.work.tidy(pl.read_parquet(theirs)), pl.read_parquet(truths[is_at_once]))
            equal = (
                f"equal where all is recorded at once ({size.rows:,} versions); {one.limits}" if one.limits else "equal"
            )
            says = f"DIFFERS: {difference}" if difference else equal
            self.results.keep("answer", *self._about(one), says=says)
            self._say(f"{one.who} answers: {says}")

    @property
    def _compared(self):
        """The size at which one axis is compared."""
        return Size(min(self.size.rows, COMPARED))

    def _answered(self, one, size, path, *, is_at_once):
        """Writes an answer; a run at full size that takes over a minute is kept as the only one."""
        try:
            took = run_once(self.work, one, size, python=self.python, is_at_once=is_at_once, answer=path, **self.run)
        except RunError as error:
            self._failed(one, error)
            return False
        if took["seconds"] > ONCE and not is_at_once:
            self.results.keep("run", *self._about(one), **took)
        return True

    def _run(self, one, when):
        try:
            took = run_once(self.work, one, self.size, python=self.python, **self.run)
        except RunError as error:
            self._failed(one, error)
            return
        self.results.keep("run", *self._about(one), **took)
        self._say(f"{when}: {one.who} {took['seconds']:.3f} s, {took['peak'] / 1e9:.2f} GB")

    def _failed(self, one, error):
        self.results.keep("failed", *self._about(one), why=str(error), seconds=error.seconds)
        self._say(f"{one.who} {error}")

    def _is_done(self, one, rounds=None):
        return self._differs(one) or self.results.is_done(*self._about(one), rounds or self.rounds)

    def _differs(self, one):
        return self._said("answer", one).startswith("DIFFERS")

    def _said(self, kind, one):
        return self.results.said(kind, *self._about(one))

    def _is_beyond(self, one):
        return one.most_rows is not None and self.size.rows > one.most_rows

    def _is_present(self, one):
        if not isinstance(one.how, Foreign) or isinstance(self.python, Path):
            return True
        self.results.keep("absent", *self._about(one), why=str(self.python))
        self._say(f"{one.who} is left out: {self.python}")
        return False

    def _about(self, one):
        return self.work.name, one.who, self.size.rows, self.run["layout"]

    def _say(self, what):
        click.echo(f"[{self.work.name}, {self.size.rows:,}] {what}", err=True)


def differing(theirs, ours):
    """The first line of how an answer differs from the same columns of ours, or nothing."""
    strange = set(theirs.columns) - set(ours.columns)
    if strange or not theirs.width:
        return f"columns {', '.join(sorted(strange)) or 'missing'}"
    try:
        assert_frame_equal(theirs, ours.select(theirs.columns), check_dtypes=False)
    except AssertionError as error:
        return str(error).splitlines()[0]
    return ""


def header(results):
    peers = ", ".join(f"{name} {one}" for name, one in peer_versions().items())
    ours = ", ".join(f"{name} {one}" for name, one in machine.versions().items())
    return {"commit": results.commit, "machine": results.machine, "versions": ours, "peers apart": peers}


def environment_in(folder):
    """The peers' interpreter, or the error that says why there is none."""
    try:
        return python_with(folder)
    except AbsentError as error:
        return error


@click.command(
    epilog="Examples: --rows 1000000 --only join; --only windows-even --rounds 3 --layout account --no-write."
)
@click.option(
    "--rows",
    multiple=True,
    type=click.IntRange(min=100),
    default=[1_000_000],
    show_default=True,
    help="Versions in the history, once per size. Entities are a fiftieth of it, questions a tenth.",
)
@click.option(
    "--rounds",
    default=5,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often everybody runs; the median counts. Who takes over a minute runs once.",
)
@click.option("--only", multiple=True, type=click.Choice(list(WORKS)), help="Measure these works only, once per work.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default=LAYOUTS[0],
    show_default=True,
    help="What the files of activities are sorted by: their own id, as history keeps them, or the account.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=machine.REPOSITORY / "data" / "bench",
    show_default="data/bench",
    help="Where made files, the peers' environment and results.jsonl are kept. Delete results.jsonl to measure anew.",
)
@click.option(
    "--give-up", default=1800.0, show_default=True, help="Seconds after which a run is ended; the table says so."
)
@click.option(
    "--memory", default=0.7, show_default=True, help="Share of the machine's memory beyond which a run is ended."
)
@click.option("--write/--no-write", default=None,
              help="Write the table into docs/performance.md; by default when every work is measured, not with --only.")  # fmt: skip
def main(*, rows, rounds, only, layout, folder, give_up, memory, write):
    """Measures the time kernel beside its peers, and prints the table of docs/performance.md.

    Everybody runs in turn, each in a process of its own, on the same files. Answers are compared first. Stop it whenever
    you like: what is measured for this commit (uncommitted changes count as another one) is not measured again.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder / "results.jsonl", machine.commit(), machine.machine(), os.getloadavg()[0])
    if results.load > table.QUIET:
        click.echo(f"The machine is busy (load {results.load:.1f}): what is measured now is too slow.", err=True)
    works = [WORKS[name] for name in only or WORKS]
    is_foreign = any(isinstance(one.how, Foreign) for work in works for one in work.contestants)
    python = environment_in(folder) if is_foreign else None
    limits = (give_up, memory * machine.memory_total())
    sound = [
        Contest(
            work, Size(size), results, folder=folder, layout=layout, rounds=rounds, limits=limits, python=python
        ).measure()
        for size in rows
        for work in works
    ]
    made = table.written(results, WORKS, header(results))
    click.echo(made)
    if write if write is not None else not only:
        PAGE.write_text(table.placed(PAGE.read_text(), made))
        click.echo(f"Written into {PAGE}.", err=True)
    if not all(sound):
        raise click.ClickException("Ours failed, or an answer differs from ours: see the table.")


if __name__ == "__main__":
    main()
