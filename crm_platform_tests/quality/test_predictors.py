"""A single feature that foresees the label is named with its score; ids, noise and few rows are not accused."""

import datetime as dt
import random
from decimal import Decimal

import polars as pl
import pytest

from crm_platform.contracts import UTC_US
from crm_platform.quality.predictors import PredictorLimits, scores

LIMITS = PredictorLimits.model_validate({})
ENTITIES = 400
DICE = random.Random(7)
LABELS = [DICE.random() < 0.3 for _ in range(ENTITIES)]
NOISE = [DICE.random() for _ in range(ENTITIES)]


def scored(values, dtype, labels=LABELS, limits=LIMITS):
    """The best score of a feature, and by what."""
    rows = pl.DataFrame(
        {"entity_id": [f"e{n}" for n in range(len(labels))], "label": labels, "f": pl.Series(values, dtype=dtype)}
    )
    found = scores(rows, ["f"], limits)
    return None if found.is_empty() else (found["by"][0], round(found["auc"][0], 3))


def of(yes, no):
    return [yes if label else no for label in LABELS]


LATER = dt.datetime(2026, 3, 9, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (of(5, 1), pl.Int64, ("order", 1.0)),
        (of(-3.5, 2.0), pl.Float64, ("order", 1.0)),
        (of(Decimal("9.99"), Decimal("1.10")), pl.Decimal(18, 2), ("order", 1.0)),
        (of(LATER, LATER - dt.timedelta(days=1)), UTC_US, ("order", 1.0)),
        (of(dt.timedelta(1), dt.timedelta(2)), pl.Duration("us"), ("order", 1.0)),
        (of(yes=True, no=False), pl.Boolean, ("order", 1.0)),
        (of("won", "open"), pl.String, ("category", 1.0)),
        (of(None, "x"), pl.String, ("null", 1.0)),
        (of(7, None), pl.Int64, ("null", 1.0)),
    ],
)
def test_a_proxy_of_the_label_is_told_whatever_its_type(values, dtype, expected):
    assert scored(values, dtype) == expected


def test_a_proxy_that_is_no_order_is_told_as_a_category():
    ends = [DICE.choice([-1, 1]) * (10 + noise) if label else noise for label, noise in zip(LABELS, NOISE, strict=True)]
    assert scored(ends, pl.Float64)[0] == "category"
    assert scored(ends, pl.Float64)[1] > 0.95


def test_noise_an_id_and_a_constant_are_not_accused():
    assert scored(NOISE, pl.Float64)[1] < 0.6
    assert scored([f"id{n}" for n in range(ENTITIES)], pl.String) == ("null", 0.5)
    assert scored(of("same", "same"), pl.String) == ("null", 0.5)


def test_the_rows_of_one_entity_do_not_tell_each_others_label():
    rows = pl.DataFrame({"entity_id": [f"e{n}" for n in range(ENTITIES)] * 4, "label": LABELS * 4})
    found = scores(rows.with_columns(f="entity_id"), ["f"], LIMITS)
    assert found.filter(pl.col("by") == "category")["auc"].to_list() == [0.5]


@pytest.mark.parametrize("labels", [[True] * 100, [False] * 100, [True] * 19 + [False] * 81, []])
def test_one_outcome_or_few_entities_with_it_are_not_judged(labels):
    assert scored([int(label) for label in labels], pl.Int64, labels) is None


def test_a_feature_known_of_few_is_judged_by_its_nulls_alone():
    values = [n if n < 10 else None for n in range(ENTITIES)]
    assert scored(values, pl.Int64)[0] == "null"


def test_nan_is_no_value():
    assert scored(of(float("nan"), 1.0), pl.Float64) == ("null", 1.0)


def test_an_area_of_a_half_or_less_is_no_limit():
    with pytest.raises(ValueError, match=r"greater than 0\.5"):
        PredictorLimits.model_validate({"auc": 0.5})
