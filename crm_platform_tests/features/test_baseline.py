import sys
from datetime import timedelta

import polars as pl
import pytest

from crm_platform.contracts import UTC_US
from crm_platform.features.baseline import BaselineError, Score, baseline, leaky_frame, score_both
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.splits import purged_split
from crm_platform.features.training import build_training_set, stored_set
from crm_platform_tests.features.scenario import (
    CONTRACTS,
    FIRST,
    LAST,
    MANIFEST,
    WATERMARK,
    at,
    days,
    lead,
    small_lake,
    write,
)

FEATURES = ["calls", "status"]


def question(number, week, *, converts, calls, status):
    return (f"L{number}", at(3, 2) + timedelta(days=7 * week), converts, calls, status)


def asked(*rows):
    schema = {"entity_id": pl.String, "as_of": UTC_US, "label": pl.Boolean, "calls": pl.Int64, "status": pl.String}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def week_of(week, *, leaky=False):
    """Eight leads: converts tell themselves by their calls but for two; later everyone's status gives it away."""
    calls = [5, 6, 7, 1, 1, 2, 0, 6]
    return [
        question(n, week, converts=n < 4, calls=calls[n], status=("converted" if n < 4 else "new") if leaky else "new")
        for n in range(8)
    ]


HONEST = asked(*(row for week in range(4) for row in week_of(week)))
LEAKY = asked(*(row for week in range(4) for row in week_of(week, leaky=True)))


def test_leaky_features_fake_what_point_in_time_features_cannot_know():
    report = score_both(HONEST, LEAKY, FEATURES, "t1")
    assert report.leaky == Score(auc=1.0, average_precision=1.0)
    assert report.point_in_time == Score(auc=0.75, average_precision=0.747)
    assert report.faked_auc == 0.25


def test_the_split_is_by_time_and_both_models_share_it():
    report = score_both(HONEST, LEAKY, FEATURES)
    assert report.split_at == at(3, 23)
    assert (report.train_rows, report.train_positives, report.test_rows, report.test_positives) == (24, 12, 8, 4)


def test_the_same_rows_give_the_same_score():
    assert score_both(HONEST, LEAKY, FEATURES) == score_both(HONEST, LEAKY, FEATURES)


def test_one_moment_cannot_be_split():
    with pytest.raises(BaselineError, match="fewer than two moments"):
        score_both(asked(*week_of(0)), asked(*week_of(0)), FEATURES)


def test_a_part_with_one_outcome_cannot_be_scored():
    negatives = HONEST.with_columns(pl.col("label") & (pl.col("as_of") < at(3, 23)))
    with pytest.raises(BaselineError, match="the later ones have only one outcome"):
        score_both(negatives, LEAKY, FEATURES)


def test_columns_that_are_neither_numbers_nor_categories_are_no_input():
    moments = HONEST.select("entity_id", "as_of", "label", pl.col("as_of").alias("last_at"))
    with pytest.raises(BaselineError, match="no feature is a number or a category"):
        score_both(moments, moments, ["last_at"])


def test_nulls_durations_and_unseen_categories_are_taken():
    odd = HONEST.with_columns(
        pl.when(pl.col("calls") > 1).then(pl.col("calls")).alias("calls"),
        pl.duration(hours=pl.col("calls"), time_unit="us").alias("recency"),
        pl.when(pl.col("as_of") == at(3, 23)).then(pl.lit("unseen")).otherwise("status").alias("status"),
        pl.lit(None, pl.Float64).alias("never"),
    )
    assert score_both(odd, odd, ["calls", "recency", "status", "never"]).test_rows == 8


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(BaselineError, match=r"Install it with: pip install 'crm-platform\[ml\]'"):
        score_both(HONEST, LEAKY, FEATURES)


@pytest.fixture
def stored(tmp_path):
    lake = small_lake(tmp_path / "lake")
    leads = [
        version
        for n in range(40)
        for version in (
            lead(f"N{n:02}", at(3, 1, n % 24), status="new", owner_id=f"O{n % 3}", source="web"),
            *([lead(f"N{n:02}", at(3, 25), operation="update", status="converted")] if n % 2 else []),
        )
    ]
    write(lake, "lead", leads)
    view = views_for(MANIFEST, CONTRACTS)["lead"]
    build_features(lake, MANIFEST, CONTRACTS, view, days(FIRST, LAST), watermark=WATERMARK)
    build_training_set(lake, MANIFEST, "lead_conversion", watermark=WATERMARK)
    return lake, stored_set(lake, "lead_conversion")


def test_the_leaky_rows_are_the_sets_rows_with_what_is_known_at_its_end(stored):
    lake, found = stored
    leaky = leaky_frame(lake, found)
    assert leaky.select("entity_id", "as_of", "label").equals(found.frame.select("entity_id", "as_of", "label"))
    assert leaky.columns == found.frame.columns
    assert found.frame["lead__status"].unique().to_list() == ["new"]
    assert leaky.filter(pl.col("entity_id") == "N01")["lead__status"].unique().to_list() == ["converted"]


def test_the_report_is_kept_beside_the_set_and_read_the_next_time(stored):
    lake, found = stored
    report = baseline(lake, found)
    kept = (found.path / "baseline.json").read_bytes()
    assert report.leaky == Score(auc=1.0, average_precision=1.0)
    assert report.point_in_time.auc < 0.9
    assert baseline(lake, found) == report
    assert (found.path / "baseline.json").read_bytes() == kept


def test_a_purged_split_leaves_out_whose_outcome_is_known_in_the_test_to_the_microsecond():
    us = timedelta(microseconds=1)
    moments = [at(3, 1), at(3, 3), at(3, 3) + us, at(3, 9), at(3, 10) - us, at(3, 10), at(3, 20)]
    frame = pl.DataFrame({"as_of": moments}, schema={"as_of": UTC_US})
    train, test = purged_split(frame, at(3, 10), horizon=timedelta(days=6), embargo=timedelta(days=1))
    assert train["as_of"].to_list() == [at(3, 1), at(3, 3)]
    assert test["as_of"].to_list() == [at(3, 10), at(3, 20)]


def test_rows_whose_outcome_the_test_would_see_are_not_trained_on_where_enough_are_left():
    def many(*, leaky=False):
        rows = [row for week in range(4) for copy in range(6) for row in week_of(week, leaky=leaky)]
        return asked(*rows).with_columns(pl.col("entity_id") + "-" + (pl.int_range(pl.len()) // 8 % 6).cast(pl.String))

    report = score_both(many(), many(leaky=True), FEATURES, horizon=timedelta(days=6), embargo=timedelta(days=2))
    assert (report.is_purged, report.purged_rows, report.train_rows, report.test_rows) == (True, 48, 96, 48)


def test_where_purging_leaves_too_few_the_report_says_that_its_scores_flatter():
    report = score_both(HONEST, LEAKY, FEATURES, horizon=timedelta(days=30))
    assert (report.is_purged, report.purged_rows, report.train_rows) == (False, 0, 24)
