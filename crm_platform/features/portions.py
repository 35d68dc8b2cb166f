"""Histories too large to be held at once, in portions: ranges of entities, each with all that its answers depend on.

Portions are filters on what is read, so a file sorted by the key is read once over all of them, and any other once per
portion: memory is bounded, time is not. What is computed of a portion stands in `timelines`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import polars as pl

from crm_platform.features.views import FeatureView
from crm_platform.history.links import roots_of

Frame = pl.DataFrame | pl.LazyFrame

ROWS_AT_ONCE = 3_000_000
"""How many versions of activities are held at once, about."""
LOOKED_AT = 65_536
"""How many of them are looked at to find the entities of a portion: all would be gigabytes of ids where activities are many."""


@dataclass(frozen=True)
class Inputs:
    """What a timeline is built from, as `build_timeline` is given it, and of which entities.

    Attributes:
        activities: One row per version of an activity.
        merges: One row per merge fact.
        versions: One row per version of an entity.
        closing: One row per entity that had a step before the window.
        low: The first entity's id; None for no bound.
        high: The id before which the last one stands; None for no bound.
    """

    activities: Frame | None
    merges: Frame | None
    versions: Frame | None
    closing: Frame | None = None
    low: Any = None
    high: Any = None

    def emptied(self) -> "Inputs":
        """The same columns, and no rows of activities: what answers look like."""
        return self if self.activities is None else replace(self, activities=self.activities.head(0))

    def inside(self, column: str) -> pl.Expr:
        """Whether an id is one of these entities."""
        low = pl.lit(value=True) if self.low is None else pl.col(column) >= pl.lit(self.low)
        high = pl.lit(value=True) if self.high is None else pl.col(column) < pl.lit(self.high)
        return low & high


def portions_of(view: FeatureView, whole: Inputs) -> list[Inputs]:
    """The inputs in portions that fit into memory; one where they all do, or where that cannot be told.

    It can where activities are lazy and sorted by their own id, as history's files are: then those that changed their
    entity are found in one pass.
    """
    key = view.key
    if key is None or not isinstance(whole.activities, pl.LazyFrame):
        return [whole]
    activities = whole.activities
    if activities.select(pl.len()).collect(engine="streaming").item() <= ROWS_AT_ONCE:
        return [whole]
    moved = _moved(activities, key)
    if moved is None:
        return [whole]
    pieces = roots_of(whole.merges, activities.collect_schema()[key]).pieces
    return [_portion(replace(whole, low=low, high=high), key, moved, pieces) for low, high in _ranges(activities, key)]


def _ranges(activities: pl.LazyFrame, key: str) -> Iterator[tuple[Any, Any]]:
    """Ranges of ids that hold about as many rows as may be held at once, and more where one entity alone has more."""
    every = max(ROWS_AT_ONCE // LOOKED_AT, 1)
    is_looked_at = (pl.col("row") % every == 0) & pl.col(key).is_not_null()
    keys = activities.select(key).with_row_index("row").filter(is_looked_at).select(key).collect(engine="streaming")
    counted = keys.group_by(key).len().sort(key)
    number = counted["len"].cast(pl.Int64).cum_sum() * every // ROWS_AT_ONCE
    firsts = counted[key].filter(number != number.shift(1)).to_list()
    yield from pairwise([None, *firsts, None])


def _moved(activities: pl.LazyFrame, key: str) -> pl.DataFrame | None:
    """The activities whose versions name several entities, with each of these; None where rows are not sorted by id."""
    before = pl.all().shift(1).name.suffix("_before")
    rows = activities.filter(pl.col("entity_id").is_not_null())
    pairs = rows.select("entity_id", key).with_columns(before)
    is_unsorted = (pl.col("entity_id") < pl.col("entity_id_before")).any()
    if pairs.select(is_unsorted).collect(engine="streaming").item():
        return None
    changes = (pl.col("entity_id") == pl.col("entity_id_before")) & pl.col(key).ne_missing(pl.col(f"{key}_before"))
    ids = pairs.filter(changes).select(pl.col("entity_id").unique()).collect(engine="streaming").to_series()
    named = activities.filter(pl.col("entity_id").is_in(ids.implode())).select("entity_id", key).unique()
    return named.collect(engine="streaming")


def _portion(part: Inputs, key: str, moved: pl.DataFrame, pieces: pl.DataFrame) -> Inputs:
    """The rows that the answers about a range of entities depend on.

    Those of the entities themselves, of everybody who is ever merged into one of them, and of activities that any of
    these had some time.
    """
    losers = pieces.filter(part.inside("root_id"))["entity_id"].unique().implode()
    names = part.inside(key) | pl.col(key).is_in(losers)
    touched = moved.filter(names)["entity_id"].unique().implode()
    activities = None if part.activities is None else part.activities.lazy()
    own = part.inside("entity_id")
    return replace(
        part,
        activities=None if activities is None else activities.filter(names | pl.col("entity_id").is_in(touched)),
        versions=None if part.versions is None else part.versions.lazy().filter(own),
        closing=None if part.closing is None else part.closing.lazy().filter(own),
    )
