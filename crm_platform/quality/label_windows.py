"""Whether the windows of a training set's questions keep apart what may be known from what is to be foreseen.

Outcomes once more in SQL, within horizon and grace; windows of one entity that overlap. Pure: frames in, findings out,
DuckDB does the work. Features and their embargo are judged in `training`.
"""

from datetime import timedelta

import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.recipes import Recipe
from crm_platform.lake.query import query
from crm_platform.quality.result import MOST_EXAMPLES, Finding

SAMPLED_ENTITIES = 2_000
"""Of how many entities the outcomes are computed a second time."""

_OUTCOMES = """
WITH read AS (
    SELECT q.entity_id, q.as_of, w.event_time, w.is_value,
           lag(w.is_value, 1, false) OVER (
               PARTITION BY q.entity_id, q.as_of
               ORDER BY w.event_time, w.processed_time, w.source_position NULLS FIRST) AS was_value
    FROM questions q JOIN writes w ON w.entity_id = q.entity_id
    WHERE greatest(w.event_time, w.processed_time) <= q.read_at)
SELECT entity_id, as_of, min(event_time) AS outcome FROM read
WHERE is_value AND NOT was_value AND event_time > as_of AND event_time <= as_of + to_microseconds({horizon})
GROUP BY entity_id, as_of"""
"""When a question's outcome first came about in (as_of, as_of + horizon], read as known at the end of horizon and grace."""


def outcomes_are_history(rows: pl.DataFrame, versions: pl.LazyFrame, recipe: Recipe) -> Finding:
    """Whether DuckDB, from the versions alone, comes to the same labels; of a sample of entities.

    Args:
        rows: entity_id, as_of, label, label_event_time, label_known_at.
        versions: The history of the entities, as pinned, with the outcome's field.
        recipe: The set's recipe.
    """
    ids = rows.select(pl.col("entity_id").unique()).sort(pl.col("entity_id").hash(seed=17)).head(SAMPLED_ENTITIES)
    asked = rows.join(ids, on="entity_id", how="semi")
    read_at = (pl.col("as_of") + recipe.horizon + recipe.grace).cast(UTC_US).alias("read_at")
    named = pl.col("changed_fields").list.contains(recipe.field).fill_null(value=True)
    is_value = (pl.col(recipe.field) == recipe.value).fill_null(value=False).alias("is_value")
    writes = (
        versions.filter(pl.col("is_tombstone").not_(), named)
        .join(ids.lazy(), on="entity_id", how="semi")
        .select("entity_id", "event_time", "processed_time", "source_position", is_value)
        .collect()
    )
    found = query(
        _OUTCOMES.format(horizon=recipe.horizon // timedelta(microseconds=1)),
        questions=asked.select("entity_id", "as_of", read_at),
        writes=writes,
    ).cast({"as_of": UTC_US, "outcome": UTC_US})
    beside = asked.join(found, on=["entity_id", "as_of"], how="left", maintain_order="left")
    wrong = beside.filter(
        pl.col("label_event_time").ne_missing(pl.col("outcome")) | (pl.col("label") != pl.col("outcome").is_not_null())
    ).select("entity_id", "as_of", "label", "label_event_time", "outcome")
    what = f"DuckDB comes to the outcomes of {asked.height} rows from history alone."
    if wrong.height:
        what = "Labels are not what history says of (as_of, as_of + horizon], read at the end of horizon and grace."
    shown = wrong.head(MOST_EXAMPLES) if wrong.height else None
    return Finding(wrong.is_empty(), what, failing=wrong.height, total=asked.height, examples=shown)


def overlapping(rows: pl.DataFrame, horizon: timedelta) -> dict[str, int]:
    """How much the outcome windows `(as_of, as_of + horizon]` of an entity overlap: such rows are no independent evidence.

    Returns:
        overlapping_rows: rows whose window begins before that of the entity's row before has ended;
        most_windows_at_once: of how many rows of one entity some moment is awaited;
        independent_rows: the most rows, entity by entity, whose windows do not overlap if taken from the first on.
    """
    if rows.is_empty():
        return {"overlapping_rows": 0, "most_windows_at_once": 0, "independent_rows": 0}
    ordered = rows.select("entity_id", "as_of").sort("entity_id", "as_of")
    overlaps = (pl.col("as_of") < pl.col("as_of").shift(1).over("entity_id") + horizon).fill_null(value=False)
    ends = pl.concat(
        [
            ordered.select("entity_id", pl.col("as_of").alias("at"), pl.lit(1).alias("step")),
            ordered.select("entity_id", (pl.col("as_of") + horizon).alias("at"), pl.lit(-1).alias("step")),
        ]
    ).sort("entity_id", "at", "step")
    at_once = ends.select(pl.col("step").cum_sum().over("entity_id").max()).item()
    return {
        "overlapping_rows": int(ordered.select(overlaps.sum()).item()),
        "most_windows_at_once": int(at_once),
        "independent_rows": _apart(ordered, horizon),
    }


def _apart(ordered: pl.DataFrame, horizon: timedelta) -> int:
    """Rows taken greedily, entity by entity: the next one whose window begins when the last one taken has ended."""
    following = ordered.with_columns((pl.col("as_of") + horizon).alias("ends")).with_row_index("row")
    next_row = following.join_asof(
        following.select("entity_id", "as_of", pl.col("row").alias("next")),
        left_on="ends",
        right_on="as_of",
        by="entity_id",
        strategy="forward",
        check_sortedness=False,
    ).get_column("next")
    here = following.group_by("entity_id").agg(pl.col("row").min()).get_column("row")
    taken = 0
    while here.len():
        taken += here.len()
        here = next_row.gather(here).drop_nulls()
    return taken
