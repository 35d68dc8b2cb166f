import datetime as dt
import random

import duckdb
import polars as pl
import pytest

from crm_platform.features import point_in_time_join
from crm_platform.features.spines import SpineError
from crm_platform.history.registers import VersionsError
from crm_platform_tests.features.timeline_rows import DAY, US, UTC_US, at, spine

STEPS = pl.DataFrame(
    [
        ("A", at(3), at(3), False, 1, at(2), "new", at(3)),
        ("A", at(10), at(3), False, 0, at(2), "new", at(3)),
        ("B", at(5), at(5), True, 4, None, None, None),
    ],
    schema={
        "entity_id": pl.String,
        "known_at": UTC_US,
        "changed_at": UTC_US,
        "is_deleted": pl.Boolean,
        "count_7d": pl.Int64,
        "last_at": UTC_US,
        "stage": pl.String,
        "stage_since": UTC_US,
    },
    orient="row",
)
COUNTS = STEPS.select("entity_id", "known_at", "changed_at", "is_deleted", "count_7d")


def counts(asked, **how):
    return point_in_time_join(asked, COUNTS, **how)["count_7d"].to_list()


def test_a_step_is_in_force_from_its_instant_on():
    asked = spine(("A", at(3) - US), ("A", at(3)), ("A", at(10) - US), ("A", at(10)), ("A", at(400)))
    assert counts(asked) == [None, 1, 1, 0, 0]


def test_an_exclusive_join_does_not_see_what_happens_at_its_instant():
    asked = spine(("A", at(3)), ("A", at(3) + US), ("A", at(10)), ("A", at(10) + US))
    assert counts(asked, inclusive=False) == [None, 1, 1, 0]


def test_an_embargo_looks_up_an_earlier_moment():
    asked = spine(("A", at(4) - US), ("A", at(4)), ("A", at(11)))
    assert counts(asked, embargo=DAY) == [None, 1, 0]
    assert counts(asked, embargo=DAY, inclusive=False) == [None, None, 1]


def test_a_ttl_counts_from_the_last_news_to_as_of_and_includes_its_last_instant():
    asked = spine(("A", at(12) - US), ("A", at(12)), ("A", at(12) + US))
    assert counts(asked, ttl=9 * DAY) == [0, 0, None]
    assert counts(asked, ttl=9 * DAY, embargo=DAY, inclusive=False) == [0, 0, None]
    found = point_in_time_join(asked, COUNTS, ttl=9 * DAY)
    assert found["is_deleted"].to_list() == [False, False, None]


def test_a_timeline_without_changed_at_takes_its_steps_for_news():
    asked = spine(("A", at(12)), ("A", at(19) + US))
    assert point_in_time_join(asked, COUNTS.drop("changed_at"), ttl=9 * DAY)["count_7d"].to_list() == [0, None]


def test_rows_stay_as_they_were_with_duplicates_null_keys_and_their_order():
    asked = spine(("B", at(6)), (None, at(6)), ("A", at(6)), ("B", at(6)), ("unknown", at(6)), ("A", None))
    asked = asked.with_columns(label=pl.Series([1, 2, 3, 4, 5, 6]))
    found = point_in_time_join(asked, COUNTS)
    assert found.select(asked.columns).equals(asked)
    assert found["count_7d"].to_list() == [4, None, 1, 4, None, None]


def test_only_features_and_is_deleted_are_added():
    stored = COUNTS.with_columns(pl.col("known_at").dt.date().alias("known_date"))
    assert point_in_time_join(spine(("A", at(6))), stored).columns == ["entity_id", "as_of", "is_deleted", "count_7d"]


def test_recency_and_days_since_are_derived_from_as_of_not_from_the_embargo():
    found = point_in_time_join(spine(("A", at(4, 12)), ("B", at(6))), STEPS, embargo=DAY)
    assert found.columns[2:] == ["is_deleted", "count_7d", "last_at", "recency", "stage", "stage_since", "stage_days"]
    assert found["recency"].to_list() == [2.5 * DAY, None]
    assert found["stage_days"].to_list() == [1.5, None]


def test_several_timelines_join_under_their_names():
    found = point_in_time_join(
        spine(("A", at(6))), {"acts": COUNTS.lazy(), "own": STEPS.select("entity_id", "known_at", "last_at")}
    )
    assert found.columns == ["entity_id", "as_of", "acts__is_deleted", "acts__count_7d", "own__last_at", "own__recency"]
    assert found.row(0)[2:] == (False, 1, at(2), 4 * DAY)


def test_the_spine_may_call_the_key_something_else():
    asked = spine(("A", at(6))).rename({"entity_id": "account_id"})
    assert point_in_time_join(asked, COUNTS, on="account_id")["count_7d"].to_list() == [1]


def test_steps_in_any_order_and_many_chunks_give_the_same():
    asked = spine(("A", at(6)), ("B", at(6)), ("A", at(11)))
    shuffled = pl.concat([COUNTS[2:3], COUNTS[1:2], COUNTS[0:1]], rechunk=False)
    assert point_in_time_join(asked, shuffled).equals(point_in_time_join(asked, COUNTS))


def test_steps_without_an_entity_or_a_moment_are_nobodys():
    stray = COUNTS.with_columns(known_at=pl.when(pl.col("entity_id") == "B").then("known_at")).vstack(
        COUNTS.with_columns(entity_id=pl.lit(None, pl.String))
    )
    asked = spine(("A", at(6)), ("B", at(6)), (None, at(6)))
    for steps in (stray, stray.lazy()):
        assert point_in_time_join(asked, steps)["count_7d"].to_list() == [None, 4, None]


def test_an_empty_spine_and_an_empty_timeline_keep_their_columns():
    assert point_in_time_join(spine(), COUNTS).schema["count_7d"] == pl.Int64
    assert point_in_time_join(spine(("A", at(6))), COUNTS.clear()).row(0) == ("A", at(6), None, None)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_a_spine_in_another_time_zone_asks_about_the_same_instants(zone):
    asked = spine(("A", at(10) - US), ("A", at(10)))
    abroad = asked.with_columns(pl.col("as_of").dt.convert_time_zone(zone))
    assert counts(abroad) == [1, 0]


def test_a_naive_spine_is_refused():
    asked = spine(("A", at(6))).with_columns(pl.col("as_of").dt.replace_time_zone(None))
    with pytest.raises(SpineError, match="no moment with a time zone"):
        point_in_time_join(asked, COUNTS)


def test_a_spine_that_lacks_its_key_is_refused():
    with pytest.raises(SpineError, match="The spine lacks account_id; it has entity_id, as_of"):
        point_in_time_join(spine(), COUNTS, on="account_id")


def test_a_spine_that_has_a_feature_already_is_refused():
    with pytest.raises(SpineError, match="1 of the columns to be added: count_7d"):
        point_in_time_join(spine(("A", at(6))).with_columns(count_7d=1), COUNTS)


def test_looking_into_the_future_is_refused():
    with pytest.raises(SpineError, match="embargo is -1 day, 0:00:00; less than zero"):
        point_in_time_join(spine(), COUNTS, embargo=-DAY)
    with pytest.raises(SpineError, match="ttl is"):
        point_in_time_join(spine(), COUNTS, ttl=-US)


def test_a_timeline_without_its_time_is_refused():
    with pytest.raises(VersionsError, match="lack known_at"):
        point_in_time_join(spine(), COUNTS.drop("known_at"))
    naive = COUNTS.with_columns(pl.col("known_at").dt.replace_time_zone(None))
    with pytest.raises(VersionsError, match="known_at as Datetime"):
        point_in_time_join(spine(), naive)


def test_keys_of_another_type_are_refused():
    with pytest.raises(SpineError, match="entity_id is Int64, the timeline's entity_id is String"):
        point_in_time_join(spine(("1", at(6))).cast({"entity_id": pl.Int64}), COUNTS)


def test_the_join_is_what_duckdb_finds():
    rng = random.Random(4)
    moment = lambda: at(1) + dt.timedelta(hours=rng.randint(0, 400))  # noqa: E731
    names = [f"e{number}" for number in range(40)]
    steps = pl.DataFrame(
        list({(rng.choice(names), moment()): None for _ in range(3_000)}),
        schema={"entity_id": pl.String, "known_at": UTC_US},
        orient="row",
    ).with_row_index("value")
    asked = pl.DataFrame(
        [(rng.choice([*names, "nobody", None]), moment() + rng.choice([-1, 0, 1]) * US) for _ in range(5_000)],
        schema={"entity_id": pl.String, "as_of": UTC_US},
        orient="row",
    ).with_row_index("row")
    query = """SELECT row, value FROM asked ASOF LEFT JOIN steps
        ON asked.entity_id = steps.entity_id AND asked.as_of >= steps.known_at ORDER BY row"""
    expected = duckdb.sql(query).pl()["value"].to_list()
    assert point_in_time_join(asked, steps)["value"].to_list() == expected
    assert 1_000 < len(expected) - expected.count(None) < 5_000
