import datetime as dt
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from crm_platform.features import (
    Attribute,
    Count,
    Distinct,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Std,
    Sum,
    build_timeline,
    features_at,
    point_in_time_join,
)
from crm_platform.features.known import TimelineError
from crm_platform.features.sums import AmountError
from crm_platform.history.registers import VersionsError
from crm_platform_tests.features.timeline_rows import (
    DAY,
    US,
    UTC_US,
    activities,
    at,
    call,
    merges,
    row,
    spine,
    versions,
)


def view(*features):
    return FeatureView(name="calls", entity="account", key="account_id", features=features)


COUNT = view(Count(window="7d"))


def steps(of, acts, facts=None, entity="A", **how):
    found = build_timeline(of, acts, facts, **how).collect().filter(pl.col("entity_id") == entity)
    return found.select("known_at", *of.columns).rows()


def changed(of, acts, facts=None, entity="A", **how):
    found = build_timeline(of, acts, facts, **how).collect().filter(pl.col("entity_id") == entity)
    return found.select("known_at", "changed_at").rows()


def test_an_activity_counts_from_its_business_time_to_the_end_of_the_window():
    assert steps(COUNT, activities(call("x", "A", at(3)))) == [(at(3), 1), (at(10), 0)]


def test_a_window_is_open_at_its_start_and_closed_at_its_end_to_the_microsecond():
    acts = activities(call("x", "A", at(3)))
    asked = spine(("A", at(3) - US), ("A", at(3)), ("A", at(10) - US), ("A", at(10)), ("A", at(10) + US))
    assert features_at(asked, COUNT, acts)["count_7d"].to_list() == [None, 1, 1, 0, 0]


def test_a_late_logged_activity_counts_from_when_it_was_recorded():
    assert steps(COUNT, activities(call("x", "A", at(3), at(5)))) == [(at(5), 1), (at(10), 0)]


def test_an_activity_recorded_later_than_its_window_never_counts_but_makes_the_entity_known():
    acts = activities(call("x", "A", at(3), at(10)))
    assert steps(COUNT, acts) == [(at(10), 0)]
    assert changed(COUNT, acts) == [(at(10), at(10))]


def test_a_future_dated_activity_counts_once_it_has_taken_place_and_is_news_then():
    acts = activities(call("x", "A", at(6), at(2)))
    assert steps(COUNT, acts) == [(at(2), 0), (at(6), 1), (at(13), 0)]
    assert changed(COUNT, acts) == [(at(2), at(2)), (at(6), at(6)), (at(13), at(6))]


def test_a_future_dated_activity_said_again_at_its_very_instant_is_news_all_the_same():
    acts = activities(call("x", "A", at(6), at(2)), call("x", "A", at(6)))
    assert changed(COUNT, acts) == [(at(2), at(2)), (at(6), at(6)), (at(13), at(6))]


def test_a_cancelled_future_date_never_counts():
    acts = activities(call("x", "A", at(6), at(2)), row("x", at(4), account_id="A", occurred_at=None))
    assert steps(COUNT, acts) == [(at(2), 0)]


def test_a_duplicated_version_counts_once():
    acts = activities(*[call("x", "A", at(3), position="1")] * 3)
    assert steps(COUNT, acts) == [(at(3), 1), (at(10), 0)]


def test_a_correction_of_value_replaces_the_value_from_when_it_is_known():
    of = view(Sum("amount", window="7d"))
    acts = activities(call("x", "A", at(3), amount="10.10"), call("x", "A", at(3), at(4), amount="7.07"))
    assert steps(of, acts) == [
        (at(3), Decimal("10.10")),
        (at(4), Decimal("7.07")),
        (at(10), Decimal("0.00")),
    ]


def test_a_correction_of_time_moves_the_window():
    acts = activities(call("x", "A", at(3)), call("x", "A", at(1), at(4)))
    assert steps(COUNT, acts) == [(at(3), 1), (at(4), 1), (at(8), 0)]
    assert changed(COUNT, acts) == [(at(3), at(3)), (at(4), at(4)), (at(8), at(4))]


def test_a_correction_of_the_owning_entity_moves_the_activity():
    acts = activities(call("x", "A", at(3)), call("x", "B", at(3), at(4)))
    assert steps(COUNT, acts) == [(at(3), 1), (at(4), 0)]
    assert steps(COUNT, acts, entity="B") == [(at(4), 1), (at(10), 0)]


def test_a_delete_takes_the_activity_away_and_an_undelete_brings_back_what_was_there():
    acts = activities(
        call("x", "A", at(3), channel="mail"),
        row("x", at(4), deleted=True),
        row("x", at(5), partial=True),
    )
    of = view(Count(window="7d"), Last("channel"))
    assert steps(of, acts) == [
        (at(3), 1, "mail"),
        (at(4), 0, None),
        (at(5), 1, "mail"),
        (at(10), 0, "mail"),
    ]


def test_a_late_update_older_than_the_tombstone_does_not_revive():
    acts = activities(call("x", "A", at(3)), row("x", at(5), deleted=True), call("x", "A", at(3), at(4), at(6)))
    assert steps(COUNT, acts) == [(at(3), 1), (at(5), 0)]


def test_partial_updates_of_an_activity_write_each_field_for_themselves():
    of = view(Sum("amount"), Last("channel"))
    acts = activities(
        call("x", "A", at(3), amount="1.00", channel="mail"),
        row("x", at(6), partial=True, amount="3.00"),
        row("x", at(5), at(7), partial=True, amount="2.00", channel="call"),
    )
    assert steps(of, acts) == [
        (at(3), Decimal("1.00"), "mail"),
        (at(6), Decimal("3.00"), "mail"),
        (at(7), Decimal("3.00"), "call"),
    ]


def test_what_a_row_holds_but_does_not_write_names_nobody():
    acts = activities(
        call("x", "A", at(3)),
        row("x", at(4), deleted=True) | {"account_id": "Z"},
        row("x", at(5), partial=True) | {"account_id": "B"},
    )
    found = build_timeline(COUNT, acts, since=at(4), until=at(20)).collect()
    assert found["entity_id"].unique().to_list() == ["A"]
    assert features_at(spine(("B", at(6)), ("Z", at(6))), COUNT, acts)["count_7d"].to_list() == [None, None]


def test_an_explicit_null_is_written_and_an_absent_field_is_not():
    of = view(Count(), Last("channel"))
    acts = activities(
        call("x", "A", at(3), channel="mail"),
        row("x", at(4), partial=True, amount="1.00"),
        row("x", at(5), partial=True, channel=None),
    )
    assert steps(of, acts) == [(at(3), 1, "mail"), (at(5), 1, None)]


def test_a_third_version_known_before_the_second_ends_the_first_and_the_second_never_shows():
    of = view(Sum("amount"))
    acts = activities(
        call("x", "A", at(3), at(3), amount="1.00"),
        call("x", "A", at(3), at(5), at(5), amount="3.00"),
        call("x", "A", at(3), at(4), at(6), amount="2.00"),
    )
    assert steps(of, acts) == [(at(3), Decimal("1.00")), (at(5), Decimal("3.00"))]


def test_events_at_one_instant_apply_together_and_leave_one_row():
    acts = activities(
        call("x", "A", at(3)),
        call("y", "A", at(10)),
        call("z", "A", at(10)),
        row("z", at(10), position="9", deleted=True),
    )
    assert steps(COUNT, acts) == [(at(3), 1), (at(10), 1), (at(17), 0)]
    assert changed(COUNT, acts) == [(at(3), at(3)), (at(10), at(10)), (at(17), at(10))]


def test_versions_tied_in_time_are_ordered_by_their_position_a_missing_one_lowest():
    of = view(Last("channel"))
    acts = activities(
        call("x", "A", at(3), position="10", channel="b"),
        call("x", "A", at(3), position="11", channel="c"),
        call("x", "A", at(3), channel="a"),
    )
    assert steps(of, acts) == [(at(3), "c")]


def test_activities_tied_in_business_time_are_ordered_by_version_then_by_id():
    of = view(First("channel"), Last("channel"))
    acts = activities(
        call("y", "A", at(3), at(4), position="1", channel="y"),
        call("x", "A", at(3), at(4), position="1", channel="x"),
        call("w", "A", at(3), at(4), position="2", channel="w"),
    )
    assert steps(of, acts) == [(at(4), "x", "w")]


def test_a_retraction_exposes_the_runner_up():
    of = view(Last("channel"), Max("amount"), Min("amount"), Recency())
    acts = activities(
        call("x", "A", at(1), channel="mail", amount="5.00"),
        call("y", "A", at(2), channel="call", amount="9.00"),
        row("y", at(4), deleted=True),
    )
    assert steps(of, acts) == [
        (at(1), "mail", Decimal("5.00"), Decimal("5.00"), at(1)),
        (at(2), "call", Decimal("9.00"), Decimal("5.00"), at(2)),
        (at(4), "mail", Decimal("5.00"), Decimal("5.00"), at(1)),
    ]


def test_first_and_last_keep_nulls_and_the_others_skip_them():
    of = view(Last("channel"), Distinct("channel"), Sum("amount"), Mean("amount"), Min("amount"), Count())
    acts = activities(call("x", "A", at(1), channel="mail"), call("y", "A", at(2), amount="2.00"))
    assert steps(of, acts)[-1] == (at(2), None, 1, Decimal("2.00"), 2.0, Decimal("2.00"), 2)


def test_over_nothing_counts_and_sums_are_zero_and_the_others_null():
    of = view(
        Count(window="1d"),
        Sum("amount", window="1d"),
        Distinct("channel", window="1d"),
        Mean("amount", window="1d"),
        Std("amount", window="1d"),
        Min("amount", window="1d"),
        Max("channel", window="1d"),
    )
    acts = activities(call("x", "A", at(1), channel="mail", amount="2.00"))
    assert steps(of, acts)[-1] == (at(2), 0, Decimal("0.00"), 0, None, None, None, None)


def test_a_distinct_value_counts_while_any_of_its_activities_does():
    of = view(Distinct("channel", window="7d"))
    acts = activities(
        call("x", "A", at(1), channel="mail"),
        call("y", "A", at(5), channel="mail"),
        call("z", "A", at(12), channel="mail"),
        call("w", "A", at(6), channel="call"),
    )
    assert steps(of, acts)[:3] == [(at(1), 1), (at(5), 1), (at(6), 2)]
    assert steps(of, acts)[-3:] == [(at(12), 2), (at(13), 1), (at(19), 0)]


def test_a_merge_moves_activities_from_when_it_is_known_and_before_it_there_are_two():
    acts = activities(call("x", "A", at(3)), call("y", "B", at(4)))
    facts = merges(("A", "B", at(5), at(6)))
    assert steps(COUNT, acts, facts) == [(at(3), 1), (at(6), 0)]
    assert steps(COUNT, acts, facts, entity="B") == [(at(4), 1), (at(6), 2), (at(10), 1), (at(11), 0)]
    asked = spine(("A", at(6) - US), ("A", at(6)))
    assert features_at(asked, COUNT, acts, facts)["is_deleted"].to_list() == [False, True]


def test_activities_logged_for_the_loser_after_the_merge_count_for_the_winner():
    acts = activities(call("x", "A", at(5)))
    facts = merges(("A", "B", at(2)))
    assert steps(COUNT, acts, facts, entity="B") == [(at(2), 0), (at(5), 1), (at(12), 0)]
    assert steps(COUNT, acts, facts) == [(at(2), 0)]


def test_chained_merges_lead_to_the_last_winner():
    acts = activities(call("x", "A", at(3)))
    facts = merges(("A", "B", at(4)), ("B", "C", at(5)))
    assert steps(COUNT, acts, facts, entity="C") == [(at(5), 1), (at(10), 0)]
    assert steps(COUNT, acts, facts, entity="B") == [(at(4), 1), (at(5), 0)]


def test_an_unmerge_gives_the_activities_back_and_a_re_merge_takes_them_again():
    acts = activities(call("x", "A", at(3)))
    facts = merges(("A", "B", at(4)), ("A", None, at(5)), ("A", "B", at(6)))
    assert steps(COUNT, acts, facts) == [(at(3), 1), (at(4), 0), (at(5), 1), (at(6), 0)]
    assert steps(COUNT, acts, facts, entity="B") == [(at(4), 1), (at(5), 0), (at(6), 1), (at(10), 0)]


def test_in_a_cycle_the_winner_of_the_greatest_fact_has_everything():
    acts = activities(call("x", "A", at(3)), call("y", "B", at(3)))
    facts = merges(("A", "B", at(4)), ("B", "A", at(5)))
    assert steps(COUNT, acts, facts) == [(at(3), 1), (at(4), 0), (at(5), 2), (at(10), 0)]
    assert steps(COUNT, acts, facts, entity="B") == [(at(3), 1), (at(4), 2), (at(5), 0)]


def test_links_that_become_known_in_the_wrong_order_end_in_the_same_place():
    acts = activities(call("x", "A", at(3)))
    late = merges(("A", "B", at(4), at(6)), ("A", "C", at(5)))
    assert steps(COUNT, acts, late, entity="C") == [(at(5), 1), (at(10), 0)]
    assert steps(COUNT, acts, late, entity="B") == [(at(6), 0)]


def test_deleting_the_winner_revives_nobody_and_keeps_its_windows():
    acts = activities(call("x", "A", at(3)))
    own = versions(row("A", at(1), stage="a"), row("B", at(1), stage="b"), row("B", at(5), deleted=True))
    of = view(Attribute("stage"), Count(window="7d"))
    facts = merges(("A", "B", at(4)))
    found = build_timeline(of, acts, facts, versions=own).collect()
    assert found.select("entity_id", "known_at", "is_deleted", "stage", "count_7d").rows() == [
        ("A", at(1), False, "a", 0),
        ("A", at(3), False, "a", 1),
        ("A", at(4), True, None, 0),
        ("B", at(1), False, "b", 0),
        ("B", at(4), False, "b", 1),
        ("B", at(5), True, None, 1),
        ("B", at(10), True, None, 0),
    ]


def test_attributes_are_states_as_known_with_a_winner_per_field():
    of = FeatureView(name="a", entity="account", features=[Attribute("stage", since=True)])
    own = versions(
        row("A", at(1), stage="new"),
        row("A", at(5), stage="won"),
        row("A", at(3), at(6), stage="open"),
        row("A", at(7), deleted=True),
        row("A", at(8), partial=True),
    )
    assert steps(of, None, versions=own) == [
        (at(1), "new", at(1)),
        (at(5), "won", at(5)),
        (at(7), None, None),
        (at(8), "won", at(8)),
    ]


def test_an_attribute_written_again_with_the_same_value_has_held_since_the_first_time():
    of = FeatureView(name="a", entity="account", features=[Attribute("stage", since=True)])
    own = versions(row("A", at(1), stage="new"), row("A", at(5), stage="new"), row("A", at(6), stage=None))
    assert steps(of, None, versions=own) == [(at(1), "new", at(1)), (at(6), None, None)]


def test_an_entity_that_appears_only_later_is_unknown_before():
    acts = activities(call("x", "A", at(3)), call("y", "B", at(20)))
    found = features_at(spine(("B", at(19)), ("B", at(20)), ("A", at(2))), COUNT, acts)
    assert found.rows() == [
        ("B", at(19), None, None),
        ("B", at(20), False, 1),
        ("A", at(2), None, None),
    ]


def test_news_is_neither_an_expiry_nor_a_version_that_says_the_same():
    acts = activities(call("x", "A", at(3), channel="mail"), call("x", "A", at(3), at(5), channel="call"))
    assert changed(COUNT, acts) == [(at(3), at(3)), (at(10), at(3))]
    reading = view(Count(window="7d"), Distinct("channel", window="7d"))
    assert changed(reading, acts) == [(at(3), at(3)), (at(5), at(5)), (at(10), at(5))]


def test_news_is_always_a_step_even_where_no_value_changes():
    acts = activities(call("x", "A", at(3)), row("x", at(4), deleted=True), call("y", "A", at(3), at(4)))
    assert changed(COUNT, acts) == [(at(3), at(3)), (at(4), at(4)), (at(10), at(4))]


def test_leap_days_and_clock_changes_are_days_like_others():
    leap = dt.datetime(2028, 2, 29, 12, tzinfo=dt.UTC)
    summer = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
    acts = activities(call("x", "A", leap), call("y", "B", summer))
    assert steps(view(Count(window="1d")), acts) == [(leap, 1), (dt.datetime(2028, 3, 1, 12, tzinfo=dt.UTC), 0)]
    assert steps(view(Count(window="1d")), acts, entity="B") == [(summer, 1), (summer + DAY, 0)]
    asked = spine(("B", summer + DAY - US)).with_columns(pl.col("as_of").dt.convert_time_zone("Europe/Berlin"))
    found = features_at(asked, view(Count(window="1d")), acts)
    assert found["count_1d"].to_list() == [1]
    assert found["as_of"].to_list() == asked["as_of"].to_list()


def test_money_is_exact_over_a_million_activities():
    rows = 1_000_000
    cents = np.random.default_rng(3).integers(-(10**17), 10**17, rows)
    frame = pl.select(
        pl.int_range(rows).alias("entity_id"),
        pl.lit(at(1), UTC_US).alias("event_time"),
        pl.lit(at(1), UTC_US).alias("processed_time"),
        pl.lit("A").alias("account_id"),
        pl.lit(at(1), UTC_US).alias("occurred_at"),
        (pl.lit(pl.Series(cents)).cast(pl.Decimal(38, 2)) / 100).cast(pl.Decimal(38, 2)).alias("amount"),
    )
    found = build_timeline(view(Sum("amount", window="30d")), frame).collect()["amount_sum_30d"]
    total = Decimal(sum(cents.tolist())) / 100
    assert found.to_list() == [total, Decimal("0.00")]


def test_floating_point_sums_leave_nothing_behind():
    rows = [call(f"x{n}", "A", at(1)) | {"minutes": minutes} for n, minutes in enumerate([0.1, 0.2, 1e12, -0.3])]
    acts = pl.DataFrame(rows, schema={**activities().schema, "minutes": pl.Float64})
    assert steps(view(Sum("minutes", window="1d")), acts)[-1] == (at(2), 0.0)


def test_money_is_summed_per_currency():
    of = view(Sum("amount", window="30d", currency="channel", currencies=("EUR", "USD")))
    acts = activities(
        call("x", "A", at(1), amount="1.10", channel="EUR"),
        call("y", "A", at(2), amount="5.00", channel="USD"),
        call("z", "A", at(3), amount="9.00", channel="CHF"),
    )
    assert steps(of, acts)[:3] == [
        (at(1), Decimal("1.10"), Decimal("0.00")),
        (at(2), Decimal("1.10"), Decimal("5.00")),
        (at(3), Decimal("1.10"), Decimal("5.00")),
    ]


def test_mean_and_deviation_have_their_own_counts():
    of = view(Mean("amount"), Std("amount"), Count())
    acts = activities(call("x", "A", at(1), amount="1.00"), call("y", "A", at(2), amount="4.00"), call("z", "A", at(3)))
    assert steps(of, acts)[-1] == (at(3), 2.5, pytest.approx(2.1213203435596424), 3)


def test_since_and_until_cut_the_steps():
    acts = activities(call("x", "A", at(3)))
    assert steps(COUNT, acts, since=at(3), until=at(10)) == [(at(3), 1)]
    assert steps(COUNT, acts, since=at(3) + US, until=at(10) + US) == [(at(10), 0)]
    assert steps(COUNT, acts, until=at(3)) == []


def test_columns_that_are_not_needed_may_be_absent():
    acts = activities(call("x", "A", at(3))).select(
        "entity_id", "event_time", "processed_time", "account_id", "occurred_at"
    )
    assert steps(COUNT, acts) == [(at(3), 1), (at(10), 0)]


def test_columns_that_hold_nothing_at_all_need_no_type():
    untyped = activities(call("x", "A", at(3))).with_columns(
        pl.lit(None).alias(name) for name in ("source_position", "is_tombstone", "changed_fields", "amount")
    )
    unmerged = merges(("A", None, at(4))).with_columns(winner_id=pl.lit(None))
    of = view(Count(window="7d"), Sum("amount"), Last("amount"))
    assert steps(of, untyped, unmerged) == [(at(3), 1, 0, None), (at(10), 0, 0, None)]


@pytest.mark.parametrize(
    "dtype",
    [
        pl.Boolean,
        pl.Date,
        pl.Categorical,
        pl.Enum(["1", "2"]),
        pl.Duration("us"),
        pl.Int8,
        pl.Float32,
        pl.Time,
        pl.UInt64,
    ],
)
def test_values_of_any_type_are_compared_counted_and_carried(dtype):
    values = pl.Series(["1", "1", "2", None])
    typed = values if dtype in (pl.Categorical, pl.Enum) else values.cast(pl.Int64) - (1 if dtype == pl.Boolean else 0)
    acts = activities(*[call(f"x{n}", "A", at(1, n)) for n in range(4)]).with_columns(typed.cast(dtype).alias("value"))
    of = view(Distinct("value"), First("value"), Last("value"), Min("value"), Max("value"))
    found = build_timeline(of, acts).collect()
    low, high = acts["value"][0], acts["value"][2]
    assert found.row(-1)[4:] == (2, low, None, low, high)
    assert found.schema["value_first"] == acts.schema["value"]


def test_ids_may_be_numbers():
    acts = activities(call("1", "7", at(3))).cast({"entity_id": pl.Int64, "account_id": pl.Int64})
    found = build_timeline(COUNT, acts).collect()
    assert found.select("entity_id", "count_7d").rows() == [(7, 1), (7, 0)]


def test_no_activities_at_all_are_an_empty_timeline_with_its_columns():
    found = build_timeline(COUNT, activities(), merges()).collect()
    assert found.shape == (0, 5)
    assert found.columns == ["entity_id", "known_at", "changed_at", "is_deleted", "count_7d"]
    assert found.schema["known_at"] == UTC_US
    assert point_in_time_join(spine(("A", at(1))), found).rows() == [("A", at(1), None, None)]


def test_questions_about_nobody_and_no_questions_keep_their_columns():
    acts = activities(call("x", "A", at(3)))
    of = view(Count(window="7d"), Recency())
    assert features_at(spine(), of, acts).columns == [
        "entity_id",
        "as_of",
        "is_deleted",
        "count_7d",
        "last_at",
        "recency",
    ]
    nobody = spine(("Z", at(3)), (None, at(3)))
    assert features_at(nobody, of, acts).row(0) == ("Z", at(3), None, None, None, None)
    assert features_at(nobody, of, activities()).row(1) == (None, at(3), None, None, None, None)


def test_a_view_may_read_ids_and_times_as_values_whoever_is_asked_about():
    acts = activities(call("x", "A", at(3)), call("y", "A", at(4)), call("z", "B", at(5)), call("w", None, at(6)))
    of = view(
        Distinct("account_id", window="7d"), Distinct("event_time", window="7d"), Distinct("entity_id", window="7d")
    )
    found = features_at(spine(("A", at(6)), ("Z", at(6))), of, acts)
    assert found.select(of.columns).rows() == [(1, 2, 2), (None, None, None)]
    joined = point_in_time_join(spine(("A", at(6)), ("Z", at(6))), build_timeline(of, acts))
    assert found.select(joined.columns).equals(joined)


def test_rows_of_several_chunks_and_files_are_one_history(tmp_path):
    acts = activities(call("x", "A", at(3)), call("x", "A", at(3), at(4), channel="mail"), call("y", "A", at(31)))
    whole = build_timeline(COUNT, acts).collect()
    pieces = pl.concat([acts[2:3], acts[0:1], acts[1:2]], rechunk=False)
    assert build_timeline(COUNT, pieces).collect().equals(whole)
    for number, piece in enumerate([acts[1:2], acts[0:1], acts[2:3]]):
        piece.write_parquet(tmp_path / f"{number}.parquet", row_group_size=1)
    assert build_timeline(COUNT, pl.scan_parquet(tmp_path / "*.parquet")).collect().equals(whole)


def test_attributes_without_versions_are_refused():
    of = view(Attribute("stage"), Count(window="7d"))
    with pytest.raises(TimelineError, match=r"1 attributes of account \(stage\), but no versions.*Pass the history"):
        build_timeline(of, activities())


def test_features_over_activities_without_activities_are_refused():
    with pytest.raises(TimelineError, match="1 features over activities, but no activities were given"):
        build_timeline(COUNT, None)


def test_naive_times_are_refused():
    naive = activities(call("x", "A", at(3))).with_columns(pl.col("occurred_at").dt.replace_time_zone(None))
    with pytest.raises(VersionsError, match=r"activities have occurred_at as .*Say which time zone"):
        build_timeline(COUNT, naive)
    with pytest.raises(TimelineError, match="since 2026-03-01T00:00:00 has no time zone"):
        build_timeline(COUNT, activities(), since=dt.datetime(2026, 3, 1))  # noqa: DTZ001


def test_versions_without_a_time_are_refused():
    timeless = activities(call("x", "A", at(3))).with_columns(pl.lit(None, UTC_US).alias("processed_time"))
    with pytest.raises(VersionsError, match="1 rows of the activities have no processed_time"):
        build_timeline(COUNT, timeless)


def test_missing_columns_are_named():
    with pytest.raises(VersionsError, match="The activities lack channel"):
        build_timeline(view(Last("channel")), activities().drop("channel"))
    with pytest.raises(VersionsError, match="The activities lack account_id"):
        features_at(spine(("A", at(6))), COUNT, activities().drop("account_id"))


def test_sums_of_text_and_endless_numbers_are_refused():
    with pytest.raises(AmountError, match="Column channel is String and cannot be summed"):
        build_timeline(view(Sum("channel")), activities(call("x", "A", at(3), channel="mail")))
    rows = pl.DataFrame(
        [call("x", "A", at(3)) | {"minutes": float("nan")}], schema={**activities().schema, "minutes": pl.Float64}
    )
    with pytest.raises(AmountError, match="Column minutes has 1 values that are infinite or not a number"):
        build_timeline(view(Sum("minutes")), rows)
