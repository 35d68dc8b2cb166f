"""Single features that foresee the label almost perfectly: more often the label in disguise than a discovery.

Pure: a training frame in, a score per feature out. Three ways are tried of each feature: its order, its value as a
category, and whether it is null at all. Which scores fail a check is the limits' say.
"""

from collections.abc import Sequence

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

SCORES = pl.Schema({"feature": pl.String(), "by": pl.String(), "auc": pl.Float64(), "rows": pl.UInt32()})
BINS = 16
"""Into how many equal parts a number with many values is cut, to be looked at as a category."""
FEW_VALUES = 64
"""Up to how many values a number is taken for a category as it stands."""
MOST_CATEGORIES = 1_000
"""A feature with more values than this is looked at by its order and its nulls alone."""
SMOOTHING = 5.0
"""How many rows of the average a category's own rows are mixed with, so that rare ones say little."""


class PredictorLimits(BaseModel):
    """From when on a single feature is too good to be true."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    auc: float = Field(
        0.98, gt=0.5, le=1.0, description="The area under the ROC curve that a single feature may not reach."
    )
    entities: int = Field(
        20, ge=1, description="The least number of entities with either outcome: fewer prove nothing."
    )
    accepted: dict[str, str] = Field(
        default_factory=dict, description="Features that may be that good, such as lead__status, each with the reason."
    )


def scores(frame: pl.DataFrame, features: Sequence[str], limits: PredictorLimits) -> pl.DataFrame:
    """How well each feature alone ranks the rows by their label.

    Categories are scored out of fold, on entities that their rates were not measured on, so that an id foresees nothing.
    A way of looking at a feature is left out where fewer entities than the limits ask for have either outcome.

    Args:
        frame: A training set: entity_id, label (boolean), the features.
        features: Which columns.
        limits: How many entities of each outcome are enough.

    Returns:
        feature, by (order, category, null), auc (0.5 to 1; the direction does not matter), rows; the best first.
    """
    rows = frame.select("entity_id", "label", *features).with_columns(_fold=pl.col("entity_id").hash(seed=17) % 2)
    found: list[tuple[str, str, float, int]] = []
    for name in features:
        plain = rows.select("entity_id", "label", "_fold", _plain(name, rows.schema[name]).alias("value"))
        known = plain.drop_nulls("value")
        if judgeable(plain, limits):
            found.append((name, "null", _of_ranks(plain, pl.col("value").is_null()), plain.height))
        if not judgeable(known, limits):
            continue
        if known.schema["value"] == pl.Float64:
            found.append((name, "order", _of_ranks(known, pl.col("value")), known.height))
            if known.get_column("value").n_unique() > FEW_VALUES:
                part = (pl.col("value").rank("average") - 1) * BINS // pl.len()
                known = known.with_columns(part.alias("value"))
        if known.get_column("value").n_unique() <= MOST_CATEGORIES:
            found.append((name, "category", _out_of_fold(known), known.height))
    return pl.DataFrame(found, schema=SCORES, orient="row").sort("auc", "feature", "by", descending=[True, False, True])


def judgeable(rows: pl.DataFrame, limits: PredictorLimits) -> bool:
    """Whether enough entities have each outcome for a score to mean anything."""
    return min(outcomes(rows)) >= limits.entities


def outcomes(rows: pl.DataFrame) -> tuple[int, int]:
    """How many entities have the outcome in some row, and how many lack it in some row."""
    of = rows.select("entity_id", "label").unique().group_by("label").len()
    counted = dict(of.iter_rows())
    return counted.get(True, 0), counted.get(False, 0)


def auc_of(label: pl.Expr, score: pl.Expr) -> pl.Expr:
    """The area under the ROC curve of a score, ties counted half; between 0 and 1, NaN where one outcome is lacking."""
    positives, total = label.sum().cast(pl.Float64), pl.len().cast(pl.Float64)
    ranks = score.rank("average").filter(label).sum()
    return (ranks - positives * (positives + 1) / 2) / (positives * (total - positives))


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    """A feature as a number where it has an order, else as text."""
    value = pl.col(name)
    if dtype.is_temporal():
        return value.to_physical().cast(pl.Float64)
    if dtype.is_numeric() or dtype == pl.Boolean:
        return value.cast(pl.Float64).fill_nan(None)
    return value.cast(pl.String)


def _of_ranks(rows: pl.DataFrame, score: pl.Expr) -> float:
    auc = float(rows.select(auc_of(pl.col("label"), score)).item())
    return max(auc, 1 - auc)


def _out_of_fold(rows: pl.DataFrame) -> float:
    """Each half is scored by the rates of the other; a value that the other never saw gets its average."""
    found = [0.5]
    for fold in (0, 1):
        scored, seen = rows.filter(pl.col("_fold") == fold), rows.filter(pl.col("_fold") != fold)
        if not 0 < scored.get_column("label").sum() < scored.height or seen.is_empty():
            return 0.5
        average = seen.get_column("label").cast(pl.Float64).mean()
        rate = (pl.col("label").sum() + SMOOTHING * pl.lit(average)) / (pl.len() + SMOOTHING)
        rates = seen.group_by("value").agg(rate.alias("rate"))
        judged = scored.join(rates, on="value", how="left").with_columns(pl.col("rate").fill_null(pl.lit(average)))
        found.append(float(judged.select(auc_of(pl.col("label"), pl.col("rate"))).item()))
    return max(0.5, sum(found[1:]) / 2)
