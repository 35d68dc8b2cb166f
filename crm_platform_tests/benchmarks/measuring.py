"""Measures the time kernel beside its peers, alternating, in one run: `python -m crm_platform_tests.benchmarks.measuring`.

Answers are compared before anything is timed, where the peer can give the same one at all.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import click
import polars as pl
from polars.testing import assert_frame_equal

from crm_platform.features import Count, Distinct, FeatureView, Sum, build_timeline, features_at, point_in_time_join
from crm_platform_tests.benchmarks import made_data, peers

ONCE = 60.0
"""Who takes longer than this many seconds runs once."""

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


def alternating(works, rounds):
    """The median seconds of each work, run in turn."""
    seconds = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            if seconds[name] and seconds[name][0] > ONCE:
                continue
            before = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - before)
    return {name: median(found) for name, found in seconds.items()}


def joins(rows, folder):
    """The as-known-at join, and the works to compare."""
    path, entities = folder / "timeline.parquet", max(rows // 50, 1)
    made_data.timeline(rows, entities).write_parquet(path, row_group_size=131_072)
    spine = made_data.spine(max(rows // 10, 1), entities)
    ours = lambda: point_in_time_join(spine, pl.scan_parquet(path)).drop(spine.columns)  # noqa: E731
    works = {
        "ours": ours,
        "DuckDB ASOF": lambda: peers.duckdb_asof(spine, path),
        "Polars join_asof": lambda: peers.polars_asof(spine, path),
        "pandas merge_asof": lambda: peers.pandas_asof(spine, path),
    }
    answer = ours()
    for name in list(works)[1:]:
        assert_frame_equal(works[name](), answer, check_dtypes=False)
    return works | {"bare read": lambda: peers.bare_read(path)}


def windows(rows, folder, *, is_skewed):
    """Nine window features straight from activities, and the works to compare."""
    entities = max(rows // 50, 1)
    path = folder / "activities.parquet"
    made = made_data.activities(rows, entities, is_skewed=is_skewed)
    made.write_parquet(path, row_group_size=131_072)
    spine = made_data.spine(max(rows // 10, 1), entities, is_skewed=is_skewed)
    in_time = folder / "in_time.parquet"
    made.with_columns(processed_time=pl.col("event_time")).write_parquet(in_time)
    born = features_at(spine, VIEW, pl.scan_parquet(in_time)).drop("is_deleted", *spine.columns).fill_null(0)
    assert_frame_equal(peers.duckdb_windows(spine, in_time), born, check_dtypes=False)
    return {
        "ours, both axes": lambda: features_at(spine, VIEW, pl.scan_parquet(path)),
        "DuckDB range join, one axis": lambda: peers.duckdb_windows(spine, path),
    }


def corrected(rows, _folder):
    """The same with corrections, merges and lateness beyond a window; no peer does it."""
    entities = max(rows // 50, 1)
    spine = made_data.spine(max(rows // 10, 1), entities)
    clean = made_data.activities(rows, entities)
    awkward = made_data.activities(rows * 10 // 11, entities, is_corrected=True)
    facts = made_data.merges(entities)
    return {
        "ours, clean": lambda: features_at(spine, VIEW, clean),
        "ours, corrected and merged": lambda: features_at(spine, VIEW, awkward, facts),
    }


def timelines(rows, folder):
    """Building the timeline, beside writing its bytes."""
    made = made_data.activities(rows, max(rows // 50, 1))
    steps = build_timeline(VIEW, made).collect()
    return {
        "ours, building": lambda: build_timeline(VIEW, made).collect(),
        "bare write": lambda: steps.write_parquet(folder / "steps.parquet"),
    }


WORKS = {
    "as-known-at join": joins,
    "nine windows, even": lambda rows, folder: windows(rows, folder, is_skewed=False),
    "nine windows, skewed": lambda rows, folder: windows(rows, folder, is_skewed=True),
    "nine windows, awkward": corrected,
    "building a timeline": timelines,
}


@click.command()
@click.option("--rows", default=1_000_000, show_default=True, help="Versions in the history.")
@click.option("--rounds", default=5, show_default=True, help="How often everything runs.")
@click.option("--only", multiple=True, type=click.Choice(list(WORKS)), help="Which works.")
def main(rows, rounds, only):
    """Prints one table: work, who, seconds, and how many times ours."""
    click.echo(f"| work ({rows:,} rows) | who | seconds | times ours |\n|---|---|---|---|")
    for name in only or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            found = alternating(WORKS[name](rows, Path(folder)), rounds)
        ours = next(iter(found.values()))
        for who, seconds in found.items():
            click.echo(f"| {name} | {who} | {seconds:.3f} | {seconds / ours:.2f} |")


if __name__ == "__main__":
    main()
