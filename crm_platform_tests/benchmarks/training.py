"""A training set: twenty features for a spine, not older than thirty days, beside Feast's historical retrieval."""

from datetime import timedelta

import polars as pl

from crm_platform.features import point_in_time_join
from crm_platform_tests.benchmarks import made_files
from crm_platform_tests.benchmarks.contest import Contestant, Foreign, Local, Target, Work, times

OURS, FEAST = "point_in_time_join", "Feast, DuckDB store"
MOST = 100_000
"""Questions of the training set; fewer where less is made."""


def _trained(given):
    spine = pl.read_parquet(given["spine"])

    def run():
        answer = point_in_time_join(spine, pl.scan_parquet(given["timeline"]), ttl=timedelta(days=30))
        return answer.select(pl.col("^feature_.*$"))

    return run


def _files(folder, size, _layout, _is_at_once):
    asked = min(MOST, size.questions)
    return {
        "timeline": made_files.wide_timeline(folder, size),
        "spine": made_files.spine(folder, size, questions=asked),
    }


def _seconds(found, _size):
    ours = found.get(("training", OURS))
    return None if ours is None else ours.seconds


WORKS = (
    Work(
        "training",
        "training set of 100 thousand questions, twenty features, at most 30 days old",
        _files,
        (Contestant(OURS, Local(_trained)), Contestant(FEAST, Foreign("feast_training"))),
        (
            Target("seconds, under 2", _seconds, 2),
            Target(
                "Feast takes at least 10x as long", times(("training", FEAST), ("training", OURS)), 10, is_least=True
            ),
        ),
    ),
)
