"""Histories for measuring: frames of any size, evenly spread or a few entities with most of the rows.

Every function makes rows from a seed; the same arguments give the same rows. Files of any size, made of such pieces and
kept, are `made_files`' business.
"""

import datetime as dt

import numpy as np
import polars as pl

UTC_US = pl.Datetime("us", "UTC")
DAY = 86_400_000_000
FIRST = int(dt.datetime(2025, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
YEAR = 365 * DAY
CHANNELS = np.array(["mail", "call", "visit", "chat", "web"])
LATE = 120
"""How many days late a correction may come: more than the longest window."""


def owners(rng, rows, entities, *, is_skewed):
    """Whose each row is; skewed by a power law of exponent 0.8."""
    if not is_skewed:
        return rng.integers(0, entities, rows)
    weights = 1 / np.arange(1, entities + 1) ** 0.8
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(rows)).clip(max=entities - 1)


def names(prefix, numbers):
    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(9)


def activities(rows, entities, *, is_skewed=False, is_corrected=False, is_at_once=False, first=0, seed=1):
    """One year of activities sorted by id and time, ids from `first` on, recorded within an hour or at once.

    Corrected: every tenth has a second version, up to LATE days late.
    """
    rng = np.random.default_rng(seed)
    occurred = rng.integers(0, YEAR, rows) + FIRST
    processed = occurred + (0 if is_at_once else rng.integers(0, DAY // 24, rows))
    frame = pl.DataFrame(
        {
            "entity_id": names("x", first + np.arange(rows)),
            "event_time": pl.Series(occurred).cast(UTC_US),
            "processed_time": pl.Series(processed).cast(UTC_US),
            "source_position": names("", first + np.arange(rows)),
            "account_id": names("a", owners(rng, rows, entities, is_skewed=is_skewed)),
            "occurred_at": pl.Series(occurred).cast(UTC_US),
            "channel": pl.Series(CHANNELS[rng.integers(0, len(CHANNELS), rows)]),
            "amount": _money(rng, rows),
        }
    )
    if not is_corrected:
        return frame
    again = frame[np.sort(rng.choice(rows, rows // 10, replace=False))]
    late = pl.Series(rng.integers(0, LATE * DAY, again.height)).cast(pl.Duration("us"))
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


def versions(rows, entities, *, is_at_once=False, first=0, seed=5):
    """Full images of entities numbered from `first`, sorted by id and event_time; one in twenty comes up to LATE days late."""
    rng = np.random.default_rng(seed)
    delay = rng.integers(0, DAY // 24, rows)
    late = rng.random(rows) < 1 / 20
    delay[late] = rng.integers(0, LATE * DAY, int(late.sum()))
    event = FIRST + rng.integers(0, YEAR, rows)
    return pl.DataFrame(
        {
            "entity_id": names("a", first + rng.integers(0, entities, rows)),
            "event_time": pl.Series(event).cast(UTC_US),
            "processed_time": pl.Series(event if is_at_once else event + delay).cast(UTC_US),
            "source_position": names("", rng.permutation(rows)),
            "is_tombstone": np.zeros(rows, dtype=np.bool_),
            "stage": pl.Series(CHANNELS[rng.integers(0, len(CHANNELS), rows)]),
            "amount": _money(rng, rows),
        }
    ).sort("entity_id", "event_time", "processed_time", "source_position")


def timeline(rows, entities, *, first=0, seed=2):
    """Steps of entities numbered from `first`, sorted by entity and time, as a stored timeline is."""
    rng = np.random.default_rng(seed)
    return _steps(rng, rows, entities, first).with_columns(
        count_7d=rng.integers(0, 50, rows),
        amount_sum_30d=rng.random(rows),
        stage=pl.Series(CHANNELS[rng.integers(0, len(CHANNELS), rows)]),
    )


def wide_timeline(rows, entities, *, first=0, seed=6):
    """The same with twenty features, counts and amounts in turn."""
    rng = np.random.default_rng(seed)
    features = {
        f"feature_{number:02}": rng.integers(0, 1000, rows) / (4 if number % 2 else 1)
        if number % 2
        else rng.integers(0, 1000, rows)
        for number in range(20)
    }
    return _steps(rng, rows, entities, first).with_columns(**{name: pl.Series(one) for name, one in features.items()})


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


def _steps(rng, rows, entities, first):
    """One step per entity and moment: sorted, none twice."""
    entity, moment = rng.integers(0, entities, rows), rng.integers(0, YEAR, rows)
    order = np.lexsort((moment, entity))
    entity, moment = entity[order], moment[order]
    again = np.flatnonzero((np.diff(entity) == 0) & (np.diff(moment) == 0)) + 1
    moment[again] += 1
    return pl.DataFrame({"entity_id": names("a", first + entity), "known_at": pl.Series(FIRST + moment).cast(UTC_US)})


def _money(rng, rows):
    return (pl.Series(rng.integers(0, 10**7, rows)).cast(pl.Decimal(18, 2)) / 100).cast(pl.Decimal(18, 2))
