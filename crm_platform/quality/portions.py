"""Some entities of a history, with everything that their timelines depend on: merges tie entities, keys tie activities.

Pure: filters on lazy frames, nothing is collected but the merges. What is judged of them stands in `truncation`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl

from crm_platform.quality.truncation import Inputs

SEED = 17
Inside = Callable[[str], pl.Expr]
"""Whether the entity in a column belongs to a portion."""


def portions(inputs: Inputs, count: int) -> Iterator[tuple[Inputs, Inside]]:
    """The inputs in so many parts that nothing in one depends on another; each with how to tell its entities.

    Args:
        inputs: The whole history.
        count: Into how many parts; what merges tie together stays together.
    """
    of = group_of(inputs.merges)
    for number in range(count):

        def inside(column: str, number: int = number) -> pl.Expr:
            return of(column).hash(seed=SEED) % count == number

        yield narrowed(inputs, inside), inside


def touching(inputs: Inputs, ids: pl.Series) -> tuple[Inputs, Inside]:
    """The inputs of these entities and of all that merges ever tied to them, and how to tell them."""
    of = group_of(inputs.merges)
    groups = ids.drop_nulls().to_frame("id").select(of("id").unique()).to_series()

    def inside(column: str) -> pl.Expr:
        return of(column).is_in(groups.implode())

    return narrowed(inputs, inside), inside


def narrowed(inputs: Inputs, inside: Inside) -> Inputs:
    """The inputs of some entities: whole lives of every activity that was ever theirs."""
    activities, versions, merges, key = inputs.activities, inputs.versions, inputs.merges, inputs.view.key
    if activities is not None and key is not None:
        theirs = activities.filter(inside(key)).select("entity_id").unique()
        activities = activities.join(theirs, on="entity_id", how="semi")
    return replace(
        inputs,
        activities=activities,
        versions=None if versions is None else versions.filter(inside("entity_id")),
        merges=None if merges is None else merges.filter(inside("loser_id")),
    )


def group_of(merges: pl.LazyFrame | None) -> Callable[[str], pl.Expr]:
    """What stands for an entity and all that merges ever tied to it: the least of their ids."""
    if merges is None:
        return pl.col
    pairs = merges.select(a="loser_id", b="winner_id").drop_nulls().unique().collect()
    if pairs.is_empty():
        return pl.col
    ties = pl.concat([pairs, pairs.select(a="b", b="a")]).unique()
    groups = ties.select(id=pl.col("a").unique()).with_columns(group=pl.col("id"))
    while True:
        near = ties.join(groups, left_on="b", right_on="id").group_by("a").agg(pl.col("group").min().alias("near"))
        closer = groups.join(near, left_on="id", right_on="a").select("id", group=pl.min_horizontal("group", "near"))
        closer = closer.sort("id")
        if closer.equals(groups.sort("id")):
            break
        groups = closer
    old, new = groups.get_column("id"), groups.get_column("group")
    return lambda column: pl.col(column).replace(old, new)
