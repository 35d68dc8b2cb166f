"""Peers that do not resolve beside our dependencies, run by the interpreter of their own environment.

A script that imports nothing of ours: it takes one JSON argument, reads Parquet, writes Parquet and prints one JSON line
{seconds, cpu, peak}. Who is asked, and with which files, is `running`'s business.
"""

# ruff: noqa: PLC0415, S608  each peer imports what it needs, and pays for no other; the SQL holds columns of our own

import json
import os
import sys
import tempfile
import time
import warnings
from datetime import timedelta
from pathlib import Path

os.environ["FEAST_USAGE"] = "False"
warnings.filterwarnings("ignore")  # deprecations inside the peers are theirs to mend

FAR = "400d"
"""Further back than any made row lies."""


def feast_join(given):
    """Feast's DuckDB offline store: three features of the narrow timeline, however old."""
    import feast.types

    types = {"count_7d": feast.types.Int64, "amount_sum_30d": feast.types.Float64, "stage": feast.types.String}
    return _feast(given, given["timeline"], types, ttl=timedelta(0))


def feast_training(given):
    """Feast's DuckDB offline store: twenty features, not older than thirty days."""
    import feast.types
    import pyarrow.parquet as pq

    kinds = {"int64": feast.types.Int64, "double": feast.types.Float64}
    schema = pq.read_schema(given["timeline"])
    types = {one.name: kinds[str(one.type)] for one in schema if one.name.startswith("feature_")}
    return _feast(given, given["timeline"], types, ttl=timedelta(days=30))


def _feast(given, path, types, ttl):
    import feast
    import pandas as pd
    from feast.value_type import ValueType

    folder = tempfile.mkdtemp(dir=Path(given["scratch"]))
    config = feast.RepoConfig(
        project="bench",
        provider="local",
        registry=f"{folder}/registry.db",
        offline_store={"type": "duckdb"},
        online_store=None,
        entity_key_serialization_version=3,
    )
    store = feast.FeatureStore(config=config)
    account = feast.Entity(name="account", join_keys=["entity_id"], value_type=ValueType.STRING)
    view = feast.FeatureView(
        name="steps",
        entities=[account],
        ttl=ttl,
        schema=[feast.Field(name=name, dtype=kind) for name, kind in types.items()],
        source=feast.FileSource(path=path, timestamp_field="known_at"),
        online=False,
    )
    store.apply([account, view])
    spine = pd.read_parquet(given["spine"]).rename(columns={"as_of": "event_timestamp"})
    features = [f"steps:{name}" for name in types]

    def run():
        found = store.get_historical_features(entity_df=spine, features=features).to_arrow()
        return found.sort_by("row").select(list(types))

    return run


def timefence_join(given):
    """timefence's inclusive as-of join of the narrow timeline."""
    import timefence

    source = timefence.Source(given["timeline"], keys=["entity_id"], timestamp="known_at", name="steps")
    columns = ["count_7d", "amount_sum_30d", "stage"]
    return _timefence(given, timefence.Feature(source, columns=columns, name="steps"), columns)


def timefence_windows(given):
    """Counts and sums through its SQL: what enters and leaves each window, summed up; it knows no windows of its own."""
    import timefence

    windows = (7, 30, 90)
    moments = ["SELECT account_id, occurred_at AS t, " + ", ".join(
        f"1 AS count_{days}d, amount AS amount_sum_{days}d" for days in windows) + " FROM {source}"]  # fmt: skip
    moments += [
        f"SELECT account_id, occurred_at + INTERVAL {left} DAY, "
        + ", ".join("-1, -amount" if days == left else "0, 0" for days in windows)
        + " FROM {source}"
        for left in windows
    ]
    columns = [f"{name}_{days}d" for days in windows for name in ("count", "amount_sum")]
    sums = ", ".join(f"sum(sum({name})) OVER own AS {name}" for name in columns)
    sql = f"""SELECT account_id, t AS feature_time, {sums} FROM ({" UNION ALL ".join(moments)})
        GROUP BY account_id, t WINDOW own AS (PARTITION BY account_id ORDER BY t)"""
    source = timefence.Source(given["activities"], keys=["account_id"], timestamp="occurred_at", name="acted")
    feature = timefence.Feature(
        source, sql=sql, name="sums", key_mapping={"entity_id": "account_id"}, on_duplicate="keep_any"
    )
    return _timefence(given, feature, columns)


def _timefence(given, feature, columns):
    import duckdb
    import timefence

    out = Path(tempfile.mkdtemp(dir=Path(given["scratch"]))) / "built.parquet"
    labels = timefence.Labels(path=given["spine"], keys=["entity_id"], label_time="as_of", target=["row"])

    def run():
        timefence.build(labels, [feature], out, max_lookback=FAR, join="inclusive", flatten_columns=True)
        return duckdb.sql(f"SELECT {', '.join(columns)} FROM read_parquet('{out}') ORDER BY row").to_arrow_table()

    return run


PEERS = {one.__name__: one for one in (feast_join, feast_training, timefence_join, timefence_windows)}


def main(asked):
    import pyarrow.parquet as pq

    PEERS[asked["function"]](asked["warm"])()
    run = PEERS[asked["function"]](asked["given"])
    before, cpu = time.perf_counter(), time.process_time()
    found = run()
    took = {"seconds": time.perf_counter() - before, "cpu": time.process_time() - cpu}
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    if asked["answer"]:
        pq.write_table(found, asked["answer"])
    sys.stdout.write(json.dumps(took | {"peak": int(peak.split()[1]) * 1024}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
