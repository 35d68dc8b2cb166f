"""How far each feature of a timeline has moved since four weeks before, day by day: numbers for a picture, no verdict.

A model was trained on what features used to be; where they have moved since, it answers about another world. Looked at are
the steps at which there was news: what features were when something happened. Expiries and keyframes are left out. The week
that ends with a day is held against the week that ended four weeks before: weekdays cancel out, a jump stays visible for a
month, and a slow change shows as well.
"""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from crm_platform.features.shapes import STEP
from crm_platform.lake import Lake
from crm_platform.quality.measures import PSI_LIMIT
from crm_platform.quality.stability import index, profile

BACK, WEEK = timedelta(days=28), 7
"""How long before a day its reference ends, and how many days both have."""
SAMPLED = 5_000
"""Steps of a day from which on every n-th entity by hash stands for all."""


def feature_drift(lake: Lake, table: str, schema: pl.Schema, days: Sequence[date]) -> dict[date, dict[str, float]]:
    """The population stability index of every feature, day by day.

    Args:
        lake: Where the timeline is stored.
        table: Such as `features/lead`.
        schema: The timeline's columns with their types.
        days: The days looked at, each of them over.

    Returns:
        By day and feature; left out where the reference is no whole week, or where samples of that size would be as far
        apart by chance alone.
    """
    counts = {day: rows for day, rows in lake.rows_by_day(table).items() if isinstance(day, date)}
    names = [name for name in schema if name not in STEP]
    held: dict[date, pl.DataFrame] = {}
    told: dict[date, dict[str, float]] = {}
    for day in sorted(set(days)):
        usual, found = _week(day - BACK), _week(day)
        if usual[0] < min(counts, default=day):
            continue
        needed = [one for one in (*usual, *found) if one in counts]
        held = {one: held[one] if one in held else _news(lake, table, names, one, counts[one]) for one in needed}
        before, now = ([held[one] for one in week if one in held] for week in (usual, found))
        told[day] = _moved(pl.concat(before), pl.concat(now), names) if before and now else {}
    return {day: moved for day, moved in told.items() if moved}


def _week(last: date) -> list[date]:
    return [last - timedelta(days=n) for n in reversed(range(WEEK))]


def _moved(usual: pl.DataFrame, found: pl.DataFrame, names: Sequence[str]) -> dict[str, float]:
    indices = {name: index(profile(usual.get_column(name)), profile(found.get_column(name))) for name in names}
    return {
        name: round(moved.value, 4)
        for name, moved in indices.items()
        if moved is not None and moved.by_chance <= PSI_LIMIT
    }


def _news(lake: Lake, table: str, names: Sequence[str], day: date, rows: int) -> pl.DataFrame:
    """The features at a day's steps with news, dead entities aside; of many the entities of every n-th hash."""
    every = -(-rows // SAMPLED)
    is_news = (pl.col("changed_at") == pl.col("known_at")) & ~pl.col("is_deleted")
    scanned = lake.scan(table, days=[day]).filter(is_news & (pl.col("entity_id").hash(0) % every == 0))
    return scanned.select(names).collect()
