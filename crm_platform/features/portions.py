"""Histories too large to be held at once, in portions: ranges of entities, each with all that its answers depend on.

Few portions are each picked out of all activities, many are set apart in one pass: memory is bounded, and time grows as
activities do. What is computed of a portion stands in `timelines`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from crm_platform.features.spills import set_apart
from crm_platform.features.views import FeatureView
from crm_platform.history.codes import ABSENT, Ints
from crm_platform.history.links import roots_of
from crm_platform.history.registers import checked

Frame = pl.DataFrame | pl.LazyFrame

ROWS_AT_ONCE = 3_000_000
"""How many versions of activities are held at once, about."""

LOOKED_AT = 65_536
"""How many of them are looked at to find the entities of a portion: all would be gigabytes of ids where activities are many."""

READ_AGAIN = 6
"""Of how many portions at most each is picked out of all activities: more are set apart on disk in one pass, which costs
about as much as reading everything six times."""

SET_APART = 1_000_000
"""How many versions of activities are held at once where they are set apart, about: there smaller portions cost
little, and hold less."""


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

    def inside(self, column: str) -> pl.Expr:
        """Whether an id is one of these entities."""
        low = pl.lit(value=True) if self.low is None else pl.col(column) >= pl.lit(self.low)
        high = pl.lit(value=True) if self.high is None else pl.col(column) < pl.lit(self.high)
        return low & high


@dataclass(frozen=True)
class Portion:
    """The inputs of a range of entities, but for activities, and which of these its answers depend on."""

    inputs: Inputs
    wanted: pl.Expr


@dataclass(frozen=True)
class Portions:
    """Inputs that are too large to be held at once.

    Attributes:
        activities: All of them, in the columns that are needed.
        key: The column that names their entity.
        ranges: The portions, in the order of entities.
        is_shared: Whether an activity may be wanted elsewhere than where its entity is, or nowhere.
        are_many: Whether they are set apart on disk.
    """

    activities: pl.LazyFrame
    key: str
    ranges: Sequence[Portion]
    is_shared: pl.Expr
    are_many: bool

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ranges)

    def __iter__(self) -> Iterator[Inputs]:
        """One after the other, each to be used before the next is taken."""
        if not self.are_many:
            for portion in self.ranges:
                yield replace(portion.inputs, activities=self.activities.filter(portion.wanted))
            return
        with set_apart(self.activities, len(self), self._rows_of) as apart:
            for portion, activities in zip(self.ranges, apart, strict=True):
                yield replace(portion.inputs, activities=activities)

    def emptied(self) -> Inputs:
        """The same columns, and no rows of activities: what answers look like."""
        return replace(self.ranges[0].inputs, activities=self.activities.head(0))

    def _rows_of(self, batch: pl.DataFrame) -> list[Ints]:
        """Which rows of all activities each portion takes, as its `wanted` says; most are told by a bisection alone."""
        ids = batch[self.key]
        highs = pl.Series([portion.inputs.high for portion in self.ranges[:-1]], dtype=ids.dtype)
        number = highs.search_sorted(ids, side="right").to_numpy().astype(np.int64)
        is_shared = batch.select(self.is_shared).to_series()
        number[(is_shared | ids.is_null()).to_numpy()] = ABSENT
        shared = np.flatnonzero(is_shared.to_numpy())
        order = np.argsort(number, kind="stable")
        edges = np.searchsorted(number[order], np.arange(len(self) + 1)).tolist()
        own = [order[low:high] for low, high in pairwise(edges)]
        if not len(shared):
            return own
        asked = batch[pl.Series(shared)]
        wanted = [asked.select(portion.wanted.fill_null(value=False)).to_series().to_numpy() for portion in self.ranges]
        return [np.sort(np.concatenate([rows, shared[here]])) for rows, here in zip(own, wanted, strict=True)]


def portions_of(view: FeatureView, whole: Inputs) -> Portions | None:
    """The inputs in portions that fit into memory; None where they all do, or where that cannot be told.

    It can where activities are lazy and sorted by their own id, as history's files are: then those that changed their
    entity are found in one pass.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds.
    """
    key = view.key
    if key is None or not isinstance(whole.activities, pl.LazyFrame):
        return None
    there = whole.activities.collect_schema().names()
    needed = checked(
        whole.activities, list(dict.fromkeys([key, view.time, *view.reads])), "activities"
    ).collect_schema()
    count = whole.activities.select(pl.len()).collect(engine="streaming").item()
    if count <= ROWS_AT_ONCE:
        return None
    activities = whole.activities.select(name for name in needed if name in there)
    moved = _moved(activities, key)
    if moved is None:
        return None
    pieces = roots_of(whole.merges, needed[key]).pieces
    losers, several = (one["entity_id"].unique().implode() for one in (pieces, moved))
    is_shared = pl.col(key).is_in(losers) | pl.col("entity_id").is_in(several)
    are_many = count > READ_AGAIN * ROWS_AT_ONCE
    found = _ranges(activities, key, SET_APART if are_many else ROWS_AT_ONCE)
    ranges = [_portion(replace(whole, low=low, high=high), key, moved, pieces) for low, high in found]
    return Portions(activities, key, ranges, is_shared.fill_null(value=False), are_many)


def _ranges(activities: pl.LazyFrame, key: str, at_once: int) -> Iterator[tuple[Any, Any]]:
    """Ranges of ids that hold about as many rows as may be held at once, and more where one entity alone has more."""
    every = max(at_once // LOOKED_AT, 1)
    is_looked_at = (pl.col("row") % every == 0) & pl.col(key).is_not_null()
    keys = activities.select(key).with_row_index("row").filter(is_looked_at).select(key).collect(engine="streaming")
    counted = keys.group_by(key).len().sort(key)
    number = counted["len"].cast(pl.Int64).cum_sum() * every // at_once
    firsts = counted[key].filter(number != number.shift(1)).to_list()
    yield from pairwise([None, *firsts, None])


def _moved(activities: pl.LazyFrame, key: str) -> pl.DataFrame | None:
    """The activities whose versions name several entities, with each of these; None where rows are not sorted by id."""
    ids, owner = pl.col("entity_id"), pl.col(key)
    named = activities.filter(ids.is_not_null())
    if named.select((ids < ids.shift(1)).any()).collect(engine="streaming").item():
        return None
    changes = (ids == ids.shift(1)) & owner.ne_missing(owner.shift(1))
    pairs = named.select(ids, owner, owner.shift(1).alias("_before"), changes.alias("_changes"))
    found = pairs.filter("_changes").collect(engine="streaming")
    return pl.concat([found.select(ids, owner), found.select(ids, pl.col("_before").alias(key))]).unique()


def _portion(part: Inputs, key: str, moved: pl.DataFrame, pieces: pl.DataFrame) -> Portion:
    """What the answers about a range of entities depend on.

    The activities of the entities themselves, of everybody who is ever merged into one of them, and those that any of
    these had some time.
    """
    losers = pieces.filter(part.inside("root_id"))["entity_id"].unique().implode()
    names = part.inside(key) | pl.col(key).is_in(losers)
    touched = moved.filter(names)["entity_id"].unique().implode()
    own = part.inside("entity_id")
    inputs = replace(
        part,
        versions=None if part.versions is None else part.versions.lazy().filter(own),
        closing=None if part.closing is None else part.closing.lazy().filter(own),
    )
    return Portion(inputs, names | pl.col("entity_id").is_in(touched))
