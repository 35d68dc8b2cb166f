"""What a user could run instead: as-of joins and range joins of other engines, each with one time axis only.

Every function gives the columns that ours gives, in the spine's order, so that answers can be compared.
"""

import duckdb
import pandas as pd
import polars as pl

WINDOWS = (7, 30, 90)


def duckdb_asof(spine, path):  # noqa: ARG001  DuckDB finds the frame by its name
    query = f"""SELECT s.row, t.count_7d, t.amount_sum_30d, t.stage FROM spine s ASOF LEFT JOIN read_parquet('{path}') t
        ON s.entity_id = t.entity_id AND s.as_of >= t.known_at"""  # noqa: S608  our own file
    return duckdb.sql(query).pl().sort("row").drop("row")


def polars_asof(spine, path):
    steps = pl.scan_parquet(path).sort("known_at")
    asked = spine.lazy().sort("as_of")
    joined = asked.join_asof(steps, left_on="as_of", right_on="known_at", by="entity_id", check_sortedness=False)
    return joined.sort("row").select("count_7d", "amount_sum_30d", "stage").collect()


def pandas_asof(spine, path):
    steps = pd.read_parquet(path).sort_values("known_at")
    asked = spine.to_pandas().sort_values("as_of")
    joined = pd.merge_asof(asked, steps, left_on="as_of", right_on="known_at", by="entity_id").sort_values("row")
    found = pl.from_pandas(joined[["count_7d", "amount_sum_30d", "stage"]])
    return found.with_columns(pl.col("count_7d").cast(pl.Int64))


def bare_read(path):
    return pl.read_parquet(path)


def duckdb_windows(spine, path):  # noqa: ARG001  DuckDB finds the frame by its name
    """Nine features by a range join over occurred_at alone: whatever was recorded late is seen too early."""
    columns = ", ".join(
        f"count(a.channel) FILTER (a.occurred_at > s.as_of - INTERVAL {days} DAY) AS count_{days}d, "
        f"coalesce(sum(a.amount) FILTER (a.occurred_at > s.as_of - INTERVAL {days} DAY), 0) AS amount_sum_{days}d, "
        f"count(DISTINCT a.channel) FILTER (a.occurred_at > s.as_of - INTERVAL {days} DAY) AS channel_distinct_{days}d"
        for days in WINDOWS
    )
    query = f"""SELECT s.row, {columns} FROM spine s LEFT JOIN read_parquet('{path}') a ON a.account_id = s.entity_id
        AND a.occurred_at <= s.as_of AND a.occurred_at > s.as_of - INTERVAL 90 DAY GROUP BY s.row ORDER BY s.row"""  # noqa: S608
    return duckdb.sql(query).pl().drop("row")
