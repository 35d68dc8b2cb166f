"""A small model's score with what was known when each question was asked, beside its score with what is known today.

The distance between the two is what leakage would have faked. Needs scikit-learn (the extra `ml`), and imports it only
when asked. No model is kept: whoever wants a good one starts from the training set.
"""

import importlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from crm_platform.contracts import PermanentError
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.labels import LABELS
from crm_platform.features.shelf import TrainingSet, keep_beside, kept_beside
from crm_platform.features.splits import purged_split
from crm_platform.features.training import timelines_of
from crm_platform.lake import Lake

REPORT = "baseline.json"
TRAINING_SHARE = 0.7
MOST_CATEGORIES = 30
"""A text column with more values than this in the training rows is taken for an id and left out."""
SPLIT = "_is_test"
LEAST_TRAINED = 20
"""How many rows of either outcome must be left to train on once those are purged whose outcome the test would see."""


class BaselineError(PermanentError):
    """The baseline model cannot be scored."""

    @classmethod
    def no_sklearn(cls) -> "BaselineError":
        """Says which package is missing."""
        return cls(
            "The baseline model needs scikit-learn, which is not installed. Install it with: pip install 'crm-platform[ml]'"
        )

    @classmethod
    def too_small(cls, why: str, rows: int) -> "BaselineError":
        """Says why the rows cannot be split."""
        return cls(
            f"The training set's {rows} rows cannot score a model: {why}. "
            "Wait for more mature days, or shorten the label's horizon in the manifest."
        )


@dataclass(frozen=True)
class Score:
    """How well a model ranks the rows it has not seen: area under the ROC curve, and average precision."""

    auc: float
    average_precision: float


@dataclass(frozen=True)
class BaselineReport:
    """The two scores, and the split by time that both share: rows asked at `split_at` or later were not trained on.

    `purged_rows` were asked before, but their outcome, or the embargo before it, reaches into the test: left out too.
    They were kept where too few rows would be left without them; then `is_purged` is false, and the scores flatter.
    """

    training_set: str
    split_at: datetime
    train_rows: int
    train_positives: int
    test_rows: int
    test_positives: int
    is_purged: bool
    purged_rows: int
    point_in_time: Score
    leaky: Score

    @property
    def faked_auc(self) -> float:
        """What leakage would have added to the area under the curve."""
        return round(self.leaky.auc - self.point_in_time.auc, 4)


def baseline(lake: Lake, found: TrainingSet) -> BaselineReport:
    """Scores the baseline on a stored training set, and keeps the report beside it.

    A report that is there already is read, not made again.

    Raises:
        BaselineError: scikit-learn is missing, or the rows cannot be split into two halves with both outcomes.
    """
    kept = kept_beside(found, REPORT)
    if kept is not None:
        return _from_json(kept)
    recipe = found.manifest.recipe
    report = score_both(
        found.frame,
        leaky_frame(lake, found),
        list(found.manifest.features),
        found.manifest.id,
        horizon=recipe.horizon,
        embargo=recipe.embargo,
    )
    told = asdict(report) | {"split_at": report.split_at.isoformat()}
    keep_beside(found, REPORT, json.dumps(told, indent=2).encode() + b"\n")
    return report


def leaky_frame(lake: Lake, found: TrainingSet) -> pl.DataFrame:
    """The training set's rows with the features as known at its watermark: what a careless join would have taken."""
    end = found.manifest.watermark
    spine = found.frame.select("entity_id", pl.lit(end).dt.cast_time_unit("us").alias("as_of"))
    known_late = point_in_time_join(spine, timelines_of(lake, found.manifest, until=end))
    return found.frame.select("entity_id", "as_of", *LABELS).hstack(known_late.select(list(found.manifest.features)))


def score_both(
    honest: pl.DataFrame,
    leaky: pl.DataFrame,
    features: list[str],
    name: str = "",
    *,
    horizon: timedelta = timedelta(0),
    embargo: timedelta = timedelta(0),
) -> BaselineReport:
    """Trains the same model twice on the earlier moments and scores it on the later ones.

    Args:
        honest: The training set: entity_id, as_of, label, and the features as known at as_of.
        leaky: The same rows with the features as known at the end.
        features: The columns a model is given.
        name: What the set is called in the report.
        horizon: How far an outcome lies ahead of its question.
        embargo: How much older than its question the features are.

    Raises:
        BaselineError: scikit-learn is missing, or the rows cannot be split into two halves with both outcomes.
    """
    split_at = _split_moment(honest)
    before = honest.filter(pl.col("as_of") < split_at)
    apart, tested = purged_split(honest, split_at, horizon=horizon, embargo=embargo)
    positives = apart.filter("label").height
    is_purged = min(positives, apart.height - positives) >= LEAST_TRAINED
    is_purged = is_purged or apart.height == before.height
    trained = apart if is_purged else before
    outcomes = {False: trained.get_column("label"), True: tested.get_column("label")}
    for half, labels in outcomes.items():
        if labels.n_unique() < 2:  # noqa: PLR2004  two outcomes
            part = "later" if half else "earlier"
            raise BaselineError.too_small(f"the {part} ones have only one outcome", honest.height)
    keys = pl.concat([trained.select("entity_id", "as_of"), tested.select("entity_id", "as_of")])
    honest, leaky = (
        rows.join(keys, on=["entity_id", "as_of"], how="semi", maintain_order="left").with_columns(
            (pl.col("as_of") >= split_at).alias(SPLIT)
        )
        for rows in (honest, leaky)
    )
    return BaselineReport(
        training_set=name,
        split_at=split_at,
        train_rows=outcomes[False].len(),
        train_positives=int(outcomes[False].sum()),
        test_rows=outcomes[True].len(),
        test_positives=int(outcomes[True].sum()),
        is_purged=is_purged,
        purged_rows=before.height - trained.height,
        point_in_time=_score(honest, features),
        leaky=_score(leaky, features),
    )


def _split_moment(frame: pl.DataFrame) -> datetime:
    """The first moment that is tested on: the earliest with at least the training share of the rows before it."""
    counted = frame.group_by("as_of").len().sort("as_of").with_columns(pl.col("len").cum_sum().shift(1).alias("before"))
    later = counted.drop_nulls("before")
    if later.is_empty():
        raise BaselineError.too_small("they ask about fewer than two moments", frame.height)
    enough = later.filter(pl.col("before") >= TRAINING_SHARE * frame.height)
    return (enough.head(1) if enough.height else later.tail(1)).get_column("as_of").item()


def _score(frame: pl.DataFrame, features: list[str]) -> Score:
    """Logistic regression on standardised numbers and one-hot categories; the same rows give the same score."""
    linear, metrics = _sklearn("sklearn.linear_model"), _sklearn("sklearn.metrics")
    matrix = _matrix(frame, features)
    train, test = (matrix.filter(frame.get_column(SPLIT) == half).to_numpy() for half in (False, True))
    seen, truth = (frame.filter(pl.col(SPLIT) == half).get_column("label").to_numpy() for half in (False, True))
    model = linear.LogisticRegression(max_iter=2000, C=0.5, solver="lbfgs").fit(train, seen)
    chance = model.predict_proba(test)[:, 1]
    return Score(
        auc=round(float(metrics.roc_auc_score(truth, chance)), 4),
        average_precision=round(float(metrics.average_precision_score(truth, chance)), 4),
    )


def _matrix(frame: pl.DataFrame, features: list[str]) -> pl.DataFrame:
    """The features as numbers: what is measured (means, deviations, categories) is measured on the training rows alone."""
    seen = frame.filter(pl.col(SPLIT).not_())
    columns: list[pl.Expr] = []
    for name in features:
        kind = frame.schema[name]
        if kind.is_numeric() or kind in (pl.Boolean, pl.Duration("us")):
            columns += _standardised(name, kind, seen)
        elif kind == pl.String:
            columns += _one_hot(name, seen)
    if not columns:
        raise BaselineError.too_small("no feature is a number or a category", frame.height)
    return frame.select(columns)


def _standardised(name: str, kind: pl.DataType, seen: pl.DataFrame) -> list[pl.Expr]:
    """The number in standard deviations, skewed amounts damped, and beside it whether there is none."""
    raw = pl.col(name).dt.total_seconds() if isinstance(kind, pl.Duration) else pl.col(name)
    value = raw.cast(pl.Float64)
    value = value.sign() * (value.abs() + 1).log()
    mean, deviation = seen.select(value.mean().fill_null(0.0).alias("mean"), value.std().alias("std")).row(0)
    scaled = (value - mean) / (deviation or 1.0)
    return [scaled.fill_null(0.0).alias(name), pl.col(name).is_null().cast(pl.Float64).alias(f"{name}=null")]


def _one_hot(name: str, seen: pl.DataFrame) -> list[pl.Expr]:
    values = seen.get_column(name).drop_nulls().unique().sort().to_list()
    if len(values) > MOST_CATEGORIES:
        return []
    return [pl.col(name).eq_missing(pl.lit(value)).cast(pl.Float64).alias(f"{name}={value}") for value in values]


def _sklearn(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise BaselineError.no_sklearn() from missing


def _from_json(content: bytes) -> BaselineReport:
    told: dict[str, Any] = json.loads(content)
    told |= {name: Score(**told[name]) for name in ("point_in_time", "leaky")}
    told["split_at"] = datetime.fromisoformat(told["split_at"]).astimezone(UTC)
    return BaselineReport(**told)
