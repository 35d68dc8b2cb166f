from datetime import timedelta

import polars as pl
import pytest

from crm_platform.contracts import RANGES, UTC_US
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.questions import QuestionError, stored_features_at
from crm_platform.features.spines import SpineError
from crm_platform_tests.features.scenario import CONTRACTS, FIRST, LAST, MANIFEST, US, WATERMARK, at, days, small_lake

NONE = timedelta(0)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    found = small_lake(tmp_path_factory.mktemp("questions") / "lake")
    landed = pl.DataFrame([("b1", None, "9", WATERMARK, "done", 9, WATERMARK)], schema=RANGES, orient="row")
    found.append("landing/ranges", landed, token="b1")
    for name in ("lead", "account"):
        view = views_for(MANIFEST, CONTRACTS)[name]
        build_features(found, MANIFEST, CONTRACTS, view, days(FIRST, LAST), watermark=WATERMARK)
    return found


def spine(*rows):
    return pl.DataFrame(list(rows), schema={"entity_id": pl.String, "as_of": UTC_US}, orient="row")


def test_a_question_is_answered_as_known_then(lake):
    asked = spine(("L1", at(3, 5, 10)), ("L1", at(3, 5, 10) - US), ("nobody", at(3, 5)), ("L1", at(3, 1)))
    found = stored_features_at(lake, asked, "lead", embargo=NONE)
    assert found.select("entity_id", "as_of", "count_7d", "status").rows() == [
        ("L1", at(3, 5, 10), 2, "working"),
        ("L1", at(3, 5, 10) - US, 1, "working"),
        ("nobody", at(3, 5), None, None),
        ("L1", at(3, 1), None, None),
    ]


def test_what_last_changed_a_month_ago_is_found_in_the_keyframe(lake):
    found = stored_features_at(lake, spine(("L1", at(4, 10))), "lead", embargo=NONE)
    assert found.select("status", "status_days").rows() == [("converted", 20.5)]


def test_an_embargo_looks_at_an_older_moment_and_measures_ages_from_the_question(lake):
    found = stored_features_at(lake.root, spine(("L1", at(3, 3, 12))), "lead", embargo=timedelta(hours=12))
    assert found.select("status", "recency").rows() == [("new", timedelta(days=1, hours=2))]


def test_several_views_get_their_names_as_prefixes(lake):
    found = stored_features_at(lake, spine(("L1", at(3, 9))), ["lead", "account"], embargo=NONE)
    assert found.select("lead__count_7d", "account__count_7d").rows() == [(2, None)]


def test_a_question_beyond_the_watermark_is_refused_and_one_at_it_is_not(lake):
    assert stored_features_at(lake, spine(("L1", WATERMARK)), "lead", embargo=NONE)["status"].to_list() == ["converted"]
    with pytest.raises(QuestionError, match="1 rows of the spine look at moments that nobody knows yet"):
        stored_features_at(lake, spine(("L1", WATERMARK + US), ("L1", at(3, 9))), "lead", embargo=NONE)
    assert stored_features_at(lake, spine(("L1", WATERMARK + US)), "lead", embargo=US).height == 1


def test_a_lake_in_which_nothing_has_landed_answers_nothing(tmp_path):
    bare = small_lake(tmp_path / "bare")
    view = views_for(MANIFEST, CONTRACTS)["lead"]
    build_features(bare, MANIFEST, CONTRACTS, view, days(FIRST, LAST), watermark=WATERMARK)
    with pytest.raises(QuestionError, match="nothing has landed yet"):
        stored_features_at(bare, spine(("L1", at(3, 9))), "lead", embargo=NONE)


def test_a_view_that_is_not_stored_is_refused_by_name(lake):
    with pytest.raises(QuestionError, match="no stored timelines contact; there are: account, lead"):
        stored_features_at(lake, spine(("L1", at(3, 9))), ["lead", "contact"], embargo=NONE)


def test_an_embargo_that_looks_ahead_is_refused(lake):
    with pytest.raises(SpineError, match="look into the future"):
        stored_features_at(lake, spine(("L1", at(3, 9))), "lead", embargo=-US)


def test_an_empty_spine_has_an_empty_answer_with_all_columns(lake):
    found = stored_features_at(lake, spine(), "lead", embargo=NONE)
    assert found.height == 0
    assert "count_7d" in found.columns
