"""As-known-at joins: from a stored timeline, and straight from versions on both axes."""

import polars as pl

from crm_platform.features import Attribute, FeatureView, features_at, point_in_time_join
from crm_platform_tests.benchmarks import made_files, peers
from crm_platform_tests.benchmarks.contest import Contestant, Foreign, Local, Target, Work, times, times_fastest

OURS = "point_in_time_join"
ONE_AXIS = "one axis: looks at event_time alone"
STAGES = FeatureView(name="stages", entity="account", features=[Attribute("stage"), Attribute("amount")])


def _joined(given):
    spine = pl.read_parquet(given["spine"])
    return lambda: point_in_time_join(spine, pl.scan_parquet(given["timeline"])).drop(spine.columns)


def _as_known(given):
    spine = pl.read_parquet(given["spine"])
    answer = ["stage", "amount"]
    return lambda: features_at(spine, STAGES, None, versions=pl.scan_parquet(given["versions"])).select(answer)


def _timeline(folder, size, _layout, _is_at_once):
    return {"timeline": made_files.timeline(folder, size), "spine": made_files.spine(folder, size)}


def _versions(folder, size, _layout, is_at_once):
    found = made_files.versions(folder, size, is_at_once=is_at_once)
    return {"versions": found, "spine": made_files.spine(folder, size)}


JOIN_PEERS = ("DuckDB ASOF", "Polars join_asof", "pandas merge_asof", "Feast, DuckDB store", "timefence")
VERSION_PEERS = ("DuckDB ASOF", "Polars join_asof")

WORKS = (
    Work(
        "join",
        "as-known-at join of a stored timeline",
        _timeline,
        (
            Contestant(OURS, Local(_joined)),
            Contestant(JOIN_PEERS[0], Local(peers.duckdb_asof)),
            Contestant(JOIN_PEERS[1], Local(peers.polars_asof)),
            Contestant(JOIN_PEERS[2], Local(peers.pandas_asof)),
            Contestant(JOIN_PEERS[3], Foreign("feast_join")),
            Contestant(JOIN_PEERS[4], Foreign("timefence_join")),
            Contestant(
                "bare read",
                Local(
                    peers.bare_read("timeline", ["entity_id", "known_at", "count_7d", "amount_sum_30d", "stage"])
                ),
                answers=False,
            ),
        ),
        (
            Target("the fastest peer takes at least 2x as long", times_fastest("join", OURS, JOIN_PEERS), 2, is_least=True),
            Target("at most 4x a bare read of the columns", times(("join", OURS), ("join", "bare read")), 4),
        ),
    ),
    Work(
        "versions",
        "as-known-at join straight from versions, both axes on",
        _versions,
        (
            Contestant("features_at", Local(_as_known)),
            Contestant(VERSION_PEERS[0], Local(peers.duckdb_versions), limits=ONE_AXIS),
            Contestant(VERSION_PEERS[1], Local(peers.polars_versions), limits=ONE_AXIS),
            Contestant(
                "bare read",
                Local(
                    peers.bare_read(
                        "versions",
                        ["entity_id", "event_time", "processed_time", "source_position", "is_tombstone", "stage", "amount"],
                    )
                ),
                answers=False,
            ),
        ),
        (
            Target(
                "the fastest peer takes at least 2x as long",
                times_fastest("versions", "features_at", VERSION_PEERS),
                2,
                is_least=True,
            ),
            Target("at most 4x a bare read of the columns", times(("versions", "features_at"), ("versions", "bare read")), 4),
        ),
    ),
)  # fmt: skip
