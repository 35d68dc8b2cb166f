"""Building the timeline of nine window features: computing it, and writing it to Delta beside the bare write."""

import os
import tempfile

import polars as pl
from deltalake import write_deltalake

from crm_platform.features import build_timeline
from crm_platform.lake.commit import WRITER
from crm_platform_tests.benchmarks import made_files
from crm_platform_tests.benchmarks.contest import Contestant, Local, Target, Work, times
from crm_platform_tests.benchmarks.windows import VIEW

COMPUTED, WRITTEN, BARE = "build_timeline", "build_timeline, to Delta", "bare write by deltalake"
IN_MEMORY = 10_000_000
"""The bare write holds all steps in memory before the clock starts: beyond this they do not fit."""


def _computed(given):
    """Steps are taken as they come and dropped: what a sink does, without its writing."""

    def run():
        for _ in build_timeline(VIEW, pl.scan_parquet(given["activities"])).collect_batches():
            pass

    return run


def _written(given):
    def run():
        build_timeline(VIEW, pl.scan_parquet(given["activities"])).sink_delta(_scratch(given))

    return run


def _bare(given):
    steps = pl.read_parquet(given["steps"]).to_arrow(compat_level=pl.CompatLevel.oldest())
    return lambda: write_deltalake(_scratch(given), steps, writer_properties=WRITER)


def _bare_sink(given):
    steps = pl.read_parquet(given["steps"])
    return lambda: steps.lazy().sink_delta(_scratch(given))


def _scratch(given):
    return tempfile.mkdtemp(dir=given["scratch"]) + "/steps"


def _files(*, is_skewed):
    def made(folder, size, layout, _is_at_once):
        acted = made_files.activities(folder, size, is_skewed=is_skewed, layout=layout)
        found = {"activities": acted}
        if size.rows <= IN_MEMORY:
            found["steps"] = made_files.made_from(acted, "steps", lambda: build_timeline(VIEW, pl.scan_parquet(acted)))
        return found

    return made


def _rate(found, size):
    ours = found.get(("build", COMPUTED))
    return None if ours is None else size.rows / ours.seconds / (os.cpu_count() or 1) / 1e6


def _peak(work):
    def figure(found, _size):
        peaks = [found[work, who].peak for who in (COMPUTED, WRITTEN) if (work, who) in found]
        return max(peaks) / 1e9 if peaks else None

    return figure


WORKS = tuple(
    Work(
        name,
        says,
        _files(is_skewed=is_skewed),
        (
            Contestant(COMPUTED, Local(_computed), answers=False),
            Contestant(WRITTEN, Local(_written), answers=False),
            Contestant(BARE, Local(_bare), answers=False, most_rows=IN_MEMORY),
            Contestant("bare write by Polars' sink_delta", Local(_bare_sink), answers=False, most_rows=IN_MEMORY),
        ),
        targets,
    )
    for name, says, is_skewed, targets in (
        (
            "build",
            "building the timeline of nine window features",
            False,
            (
                Target("million activities per second and core, at least 2", _rate, 2, is_least=True),
                Target(
                    "written to Delta: at most 1.5x the bare write", times(("build", WRITTEN), ("build", BARE)), 1.5
                ),
                Target("peak memory in GB, under 2", _peak("build"), 2),
            ),
        ),
        (
            "build-skewed",
            "the same, entities by a power law of 0.8",
            True,
            (Target("peak memory in GB, under 2", _peak("build-skewed"), 2),),
        ),
    )
)
