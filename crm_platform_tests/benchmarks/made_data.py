"""Histories for measuring: activities and timelines of any size, evenly spread or a few entities with most of them."""

import datetime as dt

import numpy as np
import polars as pl

UTC_US = pl.Datetime("us", "UTC")
DAY = 86_400_000_000
FIRST = int(dt.datetime(2025, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
YEAR = 365 * DAY
CHANNELS = np.array(["mail", "call", "visit", "chat", "web"])


def owners(rng, rows, entities, *, is_skewed):
    """Whose each row is; skewed by a power law of exponent 0.8."""
    if not is_skewed:
        return rng.integers(0, entities, rows)
    weights = 1 / np.arange(1, entities + 1) ** 0.8
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(rows)).clip(max=entities - 1)


def names(prefix, numbers):
    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(8)


def activities(rows, entities, *, is_skewed=False, is_corrected=False, seed=1):
    """One year of activities, recorded within an hour; corrected: every tenth has a second version, up to 60 days late."""
    rng = np.random.default_rng(seed)
    occurred = np.sort(rng.integers(0, YEAR, rows)) + FIRST
    processed = occurred + rng.integers(0, DAY // 24, rows)
    frame = pl.DataFrame(
        {
            "entity_id": names("x", np.arange(rows)),
            "event_time": pl.Series(occurred).cast(UTC_US),
            "processed_time": pl.Series(processed).cast(UTC_US),
            "source_position": names("", np.arange(rows)),
            "account_id": names("a", owners(rng, rows, entities, is_skewed=is_skewed)),
            "occurred_at": pl.Series(occurred).cast(UTC_US),
            "channel": pl.Series(CHANNELS[rng.integers(0, len(CHANNELS), rows)]),
            "amount": (pl.Series(rng.integers(0, 10**7, rows)).cast(pl.Decimal(18, 2)) / 100).cast(pl.Decimal(18, 2)),
        }
    )
    if not is_corrected:
        return frame
    again = frame[np.sort(rng.choice(rows, rows // 10, replace=False))]
    late = pl.Series(rng.integers(0, 60 * DAY, again.height)).cast(pl.Duration("us"))
    edited = again.with_columns(
        (pl.col("processed_time") + late).alias("event_time"),
        (pl.col("processed_time") + late).alias("processed_time"),
        (pl.col("amount") + 1).cast(pl.Decimal(18, 2)),
    )
    return pl.concat([frame, edited]).sort("entity_id", "event_time")


def merges(entities, *, seed=4):
    """One in a hundred entities is merged into another one, half way through the year."""
    rng = np.random.default_rng(seed)
    losers = rng.choice(entities, max(entities // 100, 1), replace=False)
    moment = pl.Series([FIRST + YEAR // 2] * len(losers)).cast(UTC_US)
    return pl.DataFrame(
        {
            "loser_id": names("a", losers),
            "winner_id": names("a", (losers + 1) % entities),
            "event_time": moment,
            "processed_time": moment,
        }
    )


def timeline(rows, entities, *, seed=2):
    """Steps sorted by entity and time, as a stored timeline is."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "entity_id": names("a", rng.integers(0, entities, rows)),
            "known_at": pl.Series(FIRST + rng.integers(0, YEAR, rows)),
            "count_7d": rng.integers(0, 50, rows),
            "amount_sum_30d": rng.random(rows),
            "stage": pl.Series(CHANNELS[rng.integers(0, len(CHANNELS), rows)]),
        }
    )
    return frame.with_columns(pl.col("known_at").cast(UTC_US)).sort("entity_id", "known_at")


def spine(rows, entities, *, is_skewed=False, seed=3):
    """Questions at any moment of the year, about the busy entities as often as they are busy."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "entity_id": names("a", owners(rng, rows, entities, is_skewed=is_skewed)),
            "as_of": pl.Series(FIRST + rng.integers(0, YEAR, rows)).cast(UTC_US),
        }
    )
