"""Which entity was merged into which, and when: the facts, derived from the versions of one object.

How a source shows a merge is settled before: each merge is a `merge` version of its loser. What the facts come to (who
is whose root at a moment) stands in `links`.
"""

import polars as pl

from crm_platform.contracts import MERGES


def merges_from(versions: pl.LazyFrame, object_name: str) -> pl.LazyFrame:
    """The merge facts of one object's versions; nothing but a `merge` and an `undelete` gives one.

    Args:
        versions: One row per version: entity_id, operation, merged_into, event_time, processed_time, processed_date.
        object_name: What the entities are.

    Returns:
        One row per fact (object, loser_id, winner_id, event_time, processed_time, processed_date); a null winner is an
        unmerge. Sorted by day, loser and time.
    """
    merged = (pl.col("operation") == "merge") & pl.col("merged_into").is_not_null()
    return (
        versions.filter(merged | (pl.col("operation") == "undelete"))
        .select(
            pl.lit(object_name).alias("object"),
            pl.col("entity_id").alias("loser_id"),
            pl.when(merged).then(pl.col("merged_into")).alias("winner_id"),
            "event_time",
            "processed_time",
            "processed_date",
        )
        .select(list(MERGES))
        .unique()
        .sort("processed_date", "object", "loser_id", "event_time", "processed_time", "winner_id")
    )
