"""What a user could run instead: joins and windows of other engines, each with one time axis only.

Every function takes the files that a work reads and returns what is timed: a call that gives the columns that ours gives,
in the spine's order. Peers with an environment of their own stand in `foreign`.
"""

import duckdb
import pandas as pd
import polars as pl

WINDOWS = (7, 30, 90)


def duckdb_asof(given):
    columns = "t.count_7d, t.amount_sum_30d, t.stage"
    return _duckdb_asof(given, "timeline", "known_at", columns)


def duckdb_versions(given):
    return _duckdb_asof(given, "versions", "event_time", "t.stage, t.amount")


def _duckdb_asof(given, name, moment, columns):
    connection = _asked_by(given)

    def run():
        query = f"""SELECT s.row, {columns} FROM spine s ASOF LEFT JOIN read_parquet('{given[name]}') t
            ON s.entity_id = t.entity_id AND s.as_of >= t.{moment}"""  # noqa: S608  our own file
        return connection.sql(query).pl().sort("row").drop("row")

    return run


def _asked_by(given):
    """A connection that has the questions in memory."""
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE spine AS SELECT * FROM read_parquet('{given['spine']}')")  # noqa: S608  our own file
    return connection


def polars_asof(given):
    return _polars_asof(given, "timeline", "known_at", ["count_7d", "amount_sum_30d", "stage"])


def polars_versions(given):
    return _polars_asof(given, "versions", "event_time", ["stage", "amount"])


def _polars_asof(given, name, moment, columns):
    spine = pl.read_parquet(given["spine"])

    def run():
        steps = pl.scan_parquet(given[name]).select("entity_id", moment, *columns).sort(moment)
        asked = spine.lazy().sort("as_of")
        joined = asked.join_asof(steps, left_on="as_of", right_on=moment, by="entity_id", check_sortedness=False)
        return joined.sort("row").select(columns).collect()

    return run


def pandas_asof(given):
    spine = pd.read_parquet(given["spine"])

    def run():
        steps = pd.read_parquet(given["timeline"]).sort_values("known_at")
        asked = spine.sort_values("as_of")
        joined = pd.merge_asof(asked, steps, left_on="as_of", right_on="known_at", by="entity_id").sort_values("row")
        found = pl.from_pandas(joined[["count_7d", "amount_sum_30d", "stage"]])
        return found.with_columns(pl.col("count_7d").cast(pl.Int64))

    return run


def bare_read(name, columns):
    """Reads the columns that the work needs, and nothing else."""
    return lambda given: lambda: pl.scan_parquet(given[name]).select(columns).collect()


def duckdb_windows(*, has_distinct):
    """Six or nine features by a range join over occurred_at alone: whatever was recorded late is seen too early."""
    columns = []
    for days in WINDOWS:
        since = f"FILTER (a.occurred_at > s.as_of - INTERVAL {days} DAY)"
        columns += [
            f"count(a.channel) {since} AS count_{days}d",
            f"coalesce(sum(a.amount) {since}, 0) AS amount_sum_{days}d",
        ]
        if has_distinct:
            columns.append(f"count(DISTINCT a.channel) {since} AS channel_distinct_{days}d")

    def ready(given):
        connection = _asked_by(given)

        def run():
            query = f"""SELECT s.row, {", ".join(columns)} FROM spine s
                LEFT JOIN read_parquet('{given["activities"]}') a ON a.account_id = s.entity_id
                AND a.occurred_at <= s.as_of AND a.occurred_at > s.as_of - INTERVAL {max(WINDOWS)} DAY
                GROUP BY s.row ORDER BY s.row"""  # noqa: S608  our own file
            return connection.sql(query).pl().drop("row")

        return run

    return ready


def polars_windows(*, has_distinct):
    """Six or nine features by rolling over activities and questions in one frame, occurred_at alone.

    A range join (join_where) pairs every question with every activity of its entity before it looks at the times.
    """

    def ready(given):
        spine = pl.read_parquet(given["spine"])

        def run():
            acted = pl.scan_parquet(given["activities"]).select(
                pl.col("account_id").alias("entity_id"), pl.col("occurred_at").alias("moment"), "channel", "amount"
            )
            asked = spine.lazy().select("row", "entity_id", pl.col("as_of").alias("moment"))
            both = pl.concat([acted, asked], how="diagonal").sort("entity_id", "moment").collect()
            found = _rolled(both) if has_distinct else _rolled_sums(both)
            return found.filter(pl.col("row").is_not_null()).sort("row").drop("row")

        return run

    return ready


def _rolled(both):
    """By rolling groups, one pass per window."""
    parts = [both.select("row")]
    for days in WINDOWS:
        rolled = both.rolling("moment", period=f"{days}d", group_by="entity_id").agg(
            pl.col("channel").count().cast(pl.Int64).alias(f"count_{days}d"),
            pl.col("amount").sum().alias(f"amount_sum_{days}d"),
            pl.col("channel").drop_nulls().n_unique().cast(pl.Int64).alias(f"channel_distinct_{days}d"),
        )
        parts.append(rolled.drop("entity_id", "moment"))
    return pl.concat(parts, how="horizontal")


def _rolled_sums(both):
    """By rolling sums, of cents: money in floats would be a different answer."""
    cents = (pl.col("amount") * 100).cast(pl.Int64).fill_null(0)
    counted = both.with_columns(cents=cents, one=pl.col("channel").is_not_null().cast(pl.Int64))
    sums = [
        pl.col(column).rolling_sum_by("moment", f"{days}d").over("entity_id").alias(f"{name}_{days}d")
        for days in WINDOWS
        for column, name in (("one", "count"), ("cents", "amount_sum"))
    ]
    money = [(pl.col(f"amount_sum_{days}d").cast(pl.Decimal(38, 2)) / 100).cast(pl.Decimal(38, 2)) for days in WINDOWS]
    return counted.select("row", *sums).with_columns(money)
