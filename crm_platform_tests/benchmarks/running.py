"""Runs one contestant once, in a process of its own, and says how long it took and how much memory it needed.

Both sides stand here: `run_once` starts a process and watches it; the module run as a script is that process. It first does
the work on a few rows, so that nobody pays for imports while the clock runs; answers are written after it has stopped.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from crm_platform_tests.benchmarks import foreign
from crm_platform_tests.benchmarks.contest import Foreign
from crm_platform_tests.benchmarks.made_files import Size

WARM = Size(2_000)
RAISED = re.compile(r"[\w.]+(Error|Exception)\b")
"""How the line of a traceback begins that says what went wrong."""
REPOSITORY = Path(__file__).parents[2]
AS_DEPLOYED = {"MALLOC_ARENA_MAX": "1"}
"""What the image sets for every process: glibc's threads share one pool of memory, which gives back what others freed."""


class RunError(Exception):
    """A contestant did not finish; the message says why, for the table; `seconds` how long it was given, if that was it."""

    def __init__(self, why, seconds=None):
        super().__init__(why)
        self.seconds = seconds


def run_once(work, contestant, size, *, folder, layout, limits, python, is_at_once=False, answer=None):
    """One run: {seconds, cpu, peak (bytes)}.

    Args:
        work: The work.
        contestant: Who does it.
        size: How much.
        folder: Where made files are kept.
        layout: What activities are sorted by.
        limits: (seconds, bytes) after which it is ended.
        python: The interpreter of the peers' environment, for those who need it.
        is_at_once: Whether the history is one in which everything is recorded as it happens.
        answer: Where the answer is to be written, if at all.

    Raises:
        RunError: It failed, took too long, or needed too much memory.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        asked = {
            "given": _named(work.made(folder, size, layout, is_at_once), scratch),
            "warm": _named(work.made(folder, WARM, layout, is_at_once), scratch),
            "answer": None if answer is None else str(answer),
        }
        if isinstance(contestant.how, Foreign):
            command = [str(python), foreign.__file__, json.dumps(asked | {"function": contestant.how.function})]
        else:
            command = [sys.executable, "-m", __name__, json.dumps(asked | {"work": work.name, "who": contestant.who})]
        return json.loads(_watched(command, limits, scratch).splitlines()[-1])


def make(work, wanted, *, folder, layout, limits):
    """Makes a work's files, (size, is_at_once) each, in a process of its own: none is made while a clock runs."""
    made = [(size.rows, is_at_once) for size, is_at_once in (*wanted, (WARM, False), (WARM, True))]
    asked = {"work": work.name, "made": made, "folder": str(folder), "layout": layout}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _watched([sys.executable, "-m", __name__, json.dumps(asked)], limits, scratch)


def _watched(command, limits, scratch):
    """What a process prints; ended when it takes more time or memory than it may."""
    seconds, most = limits
    with (Path(scratch) / "out").open("w+") as out, (Path(scratch) / "err").open("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=REPOSITORY, env=os.environ | AS_DEPLOYED)
        until = time.monotonic() + seconds
        while (code := _waited(process)) is None:
            if time.monotonic() > until:
                _end(process)
                raise RunError(f"ended after {seconds:.0f} s", seconds)
            if _resident(process.pid) > most:
                _end(process)
                raise RunError(f"ended when it held more than {most / 1e9:.0f} GB")
        out.seek(0)
        err.seek(0)
        printed, said = out.read(), err.read().strip().splitlines()
    if code:
        raised = [line for line in said if RAISED.match(line)] or said or [f"exit code {code}"]
        raise RunError(f"failed: {raised[-1]}")
    return printed


def _waited(process):
    try:
        return process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return None


def _end(process):
    process.kill()
    process.wait()


def _resident(pid):
    try:
        return _memory(pid, "VmRSS")
    except (FileNotFoundError, ProcessLookupError):  # ended since
        return 0


def _memory(pid, what):
    """Bytes that /proc tells of a process; 0 where it tells nothing, as of one that ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:")), 0)


def _named(given, scratch):
    return {name: str(path) for name, path in given.items()} | {"scratch": str(scratch)}


def main(asked):
    from crm_platform_tests.benchmarks.works import WORKS  # noqa: PLC0415  the works know nothing of how they are run

    work = WORKS[asked["work"]]
    if "made" in asked:
        for rows, is_at_once in asked["made"]:
            work.made(Path(asked["folder"]), Size(rows), asked["layout"], is_at_once)
        return
    contestant = next(one for one in work.contestants if one.who == asked["who"])
    contestant.how.ready(asked["warm"])()
    run = contestant.how.ready(asked["given"])
    before, cpu = time.perf_counter(), time.process_time()
    found = run()
    took = {"seconds": time.perf_counter() - before, "cpu": time.process_time() - cpu}
    took["peak"] = _memory("self", "VmHWM")
    if asked["answer"]:
        work.tidy(found).write_parquet(asked["answer"])
    sys.stdout.write(json.dumps(took))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
