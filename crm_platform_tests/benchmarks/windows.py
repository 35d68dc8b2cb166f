"""Nine window features straight from a file of activities: evenly spread, skewed, and with all that makes CRMs awkward."""

import polars as pl

from crm_platform.features import Count, Distinct, FeatureView, Sum, features_at
from crm_platform_tests.benchmarks import made_files, peers
from crm_platform_tests.benchmarks.contest import Contestant, Foreign, Local, Target, Work, times, times_fastest

VIEW = FeatureView(
    name="activity",
    entity="account",
    key="account_id",
    features=[
        feature
        for days in peers.WINDOWS
        for feature in (
            Count(window=f"{days}d"),
            Sum("amount", window=f"{days}d"),
            Distinct("channel", window=f"{days}d"),
        )
    ],
)
OURS, DUCKDB, DUCKDB_SIX = "features_at", "DuckDB range join, nine", "DuckDB range join, six"
ONE_AXIS = "one axis: looks at occurred_at alone"
SIX = f"{ONE_AXIS}, and leaves out the distinct counts"
MOST_SKEWED = 10_000_000
"""Who looks at every pair is asked up to this size: pairs grow with the square of the busiest entity."""


def _answered(given):
    spine = pl.read_parquet(given["spine"])
    facts = pl.read_parquet(given["merges"]) if "merges" in given else None
    return lambda: features_at(spine, VIEW, pl.scan_parquet(given["activities"]), facts).select(VIEW.columns)


def _clean(given):
    return _answered({"spine": given["spine"], "activities": given["clean"]})


def _born(answer):
    """Before an entity is first heard of, ours gives nulls; a range join gives zeros."""
    return answer.with_columns(pl.col(pl.Decimal).cast(pl.Decimal(38, 2))).fill_null(0)


def _files(*, is_skewed):
    def made(folder, size, layout, is_at_once):
        return {
            "activities": made_files.activities(
                folder, size, is_skewed=is_skewed, is_at_once=is_at_once, layout=layout
            ),
            "spine": made_files.spine(folder, size, is_skewed=is_skewed),
        }

    return made


def _awkward(folder, size, layout, _is_at_once):
    return {
        "activities": made_files.activities(folder, size, is_corrected=True, layout=layout),
        "clean": made_files.activities(folder, size, layout=layout),
        "merges": made_files.merges(folder, size),
        "spine": made_files.spine(folder, size),
    }


def _contestants(most_pairs):
    duckdb, polars = peers.duckdb_windows, peers.polars_windows
    return (
        Contestant(OURS, Local(_answered)),
        Contestant(DUCKDB, Local(duckdb(has_distinct=True)), limits=ONE_AXIS, most_rows=most_pairs),
        Contestant(DUCKDB_SIX, Local(duckdb(has_distinct=False)), limits=SIX, most_rows=most_pairs),
        Contestant("Polars rolling, nine", Local(polars(has_distinct=True)), limits=ONE_AXIS, most_rows=most_pairs),
        Contestant("Polars rolling sums, six", Local(polars(has_distinct=False)), limits=SIX),
        Contestant("timefence, six by SQL of our own", Foreign("timefence_windows"), limits=SIX),
    )


WORKS = (
    Work(
        "windows-even",
        "nine window features, activities evenly spread",
        _files(is_skewed=False),
        _contestants(None),
        (
            Target(
                "DuckDB takes at least 4x as long",
                times(("windows-even", DUCKDB), ("windows-even", OURS)),
                4,
                is_least=True,
            ),
        ),
        _born,
    ),
    Work(
        "windows-skewed",
        "nine window features, entities by a power law of 0.8",
        _files(is_skewed=True),
        _contestants(MOST_SKEWED),
        (
            Target(
                "DuckDB takes at least 100x as long",
                times_fastest("windows-skewed", OURS, (DUCKDB, DUCKDB_SIX)),
                100,
                is_least=True,
            ),
            Target("at most 1.5x the even shape", times(("windows-skewed", OURS), ("windows-even", OURS)), 1.5),
        ),
        _born,
    ),
    Work(
        "windows-awkward",
        "the same with corrections, merges and lateness beyond the longest window; no peer knows any of them",
        _awkward,
        (
            Contestant(OURS, Local(_answered)),
            Contestant("features_at, clean", Local(_clean), answers=False),
        ),
        (
            Target(
                "at most 1.5x clean data",
                times(("windows-awkward", OURS), ("windows-awkward", "features_at, clean")),
                1.5,
            ),
        ),
        _born,
    ),
)
