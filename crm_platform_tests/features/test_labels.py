from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crm_platform.contracts import UTC_US
from crm_platform.features.labels import Conversion, LabelError, grid, label_conversions, last_mature, open_spine

US = timedelta(microseconds=1)
DAY = timedelta(days=1)


def at(month, day, hour=0):
    return datetime(2026, month, day, hour, tzinfo=UTC)


def version(entity, event, status, processed=None, *, changed=None, tombstone=False, position=None):
    return {
        "entity_id": entity,
        "event_time": event,
        "processed_time": processed or event,
        "source_position": position or (processed or event).isoformat(),
        "is_tombstone": tombstone,
        "changed_fields": changed,
        "status": status,
    }


def versions(*rows):
    schema = {
        "entity_id": pl.String,
        "event_time": UTC_US,
        "processed_time": UTC_US,
        "source_position": pl.String,
        "is_tombstone": pl.Boolean,
        "changed_fields": pl.List(pl.String),
        "status": pl.String,
    }
    return pl.LazyFrame(list(rows), schema=schema)


def spine(*rows):
    return pl.DataFrame(list(rows), schema={"entity_id": pl.String, "as_of": UTC_US}, orient="row")


OUTCOME = Conversion("status", "converted", timedelta(days=30), timedelta(days=2), ("lost",))
FAR = at(12, 31)


def labels(question, *rows, outcome=OUTCOME, watermark=FAR):
    return label_conversions(question, versions(*rows), outcome, watermark=watermark)


def label(question, *rows, outcome=OUTCOME):
    return labels(spine(question), *rows, outcome=outcome)["label"].to_list()


def test_a_lead_that_converts_within_the_horizon_is_positive_and_the_row_says_when():
    found = labels(spine(("L1", at(3, 2))), version("L1", at(3, 1), "new"), version("L1", at(3, 20), "converted"))
    assert found.rows() == [("L1", at(3, 2), True, at(3, 20), at(4, 3))]


def test_a_lead_that_never_converts_is_negative():
    found = labels(spine(("L1", at(3, 2))), version("L1", at(3, 1), "new"), version("L1", at(3, 20), "working"))
    assert found.rows() == [("L1", at(3, 2), False, None, at(4, 3))]


@pytest.mark.parametrize(
    ("converted_at", "expected"),
    [
        (at(3, 2), False),
        (at(3, 2) + US, True),
        (at(4, 1) - US, True),
        (at(4, 1), True),
        (at(4, 1) + US, False),
    ],
)
def test_the_window_opens_just_after_the_question_and_closes_at_the_horizon(converted_at, expected):
    rows = version("L1", at(3, 1), "new"), version("L1", converted_at, "converted")
    assert label(("L1", at(3, 2)), *rows) == [expected]


@pytest.mark.parametrize(
    ("recorded_at", "expected"),
    [(at(4, 3) - US, True), (at(4, 3), True), (at(4, 3) + US, False)],
)
def test_a_conversion_counts_if_it_is_recorded_by_the_end_of_the_grace(recorded_at, expected):
    rows = version("L1", at(3, 1), "new"), version("L1", at(3, 30), "converted", recorded_at)
    assert label(("L1", at(3, 2)), *rows) == [expected]


def test_business_time_decides_not_the_time_of_recording():
    back_dated = version("L1", at(3, 1), "converted", at(3, 10)), version("L1", at(2, 20), "new")
    assert label(("L1", at(3, 2)), *back_dated) == [False]


def test_a_conversion_that_was_corrected_away_later_still_happened():
    rows = (
        version("L1", at(3, 1), "new"),
        version("L1", at(3, 10), "converted"),
        version("L1", at(3, 12), "working", changed=["status"]),
    )
    assert label(("L1", at(3, 2)), *rows) == [True]


def test_a_lead_that_is_converted_already_does_not_convert_again_by_being_edited():
    rows = (
        version("L1", at(3, 1), "converted"),
        version("L1", at(3, 10), "converted"),
        version("L1", at(3, 12), "converted", changed=["status"]),
    )
    assert label(("L1", at(3, 2)), *rows) == [False]


def test_a_partial_update_of_another_field_says_nothing_about_the_status():
    rows = version("L1", at(3, 1), "new"), version("L1", at(3, 10), None, changed=["owner_id"])
    assert label(("L1", at(3, 2)), *rows) == [False]


def test_an_update_that_does_not_name_the_status_does_not_hide_that_it_was_converted():
    rows = (
        version("L1", at(3, 1), "converted"),
        version("L1", at(3, 9), None, changed=["owner_id"]),
        version("L1", at(3, 10), "converted", changed=["status"]),
    )
    assert label(("L1", at(3, 2)), *rows) == [False]


def test_an_explicit_null_is_a_status_and_becoming_converted_after_it_is_a_conversion():
    rows = (
        version("L1", at(2, 1), "converted"),
        version("L1", at(3, 5), None, changed=["status"]),
        version("L1", at(3, 10), "converted", changed=["status"]),
    )
    assert label(("L1", at(3, 2)), *rows) == [True]


def test_a_tombstone_writes_no_status_and_takes_no_conversion_back():
    rows = (
        version("L1", at(3, 1), "new"),
        version("L1", at(3, 10), "converted"),
        version("L1", at(3, 11), None, tombstone=True, changed=[]),
    )
    assert label(("L1", at(3, 2)), *rows) == [True]


def test_an_older_dated_write_that_arrives_late_is_placed_by_its_business_time():
    early_conversion_told_late = (
        version("L1", at(2, 1), "new"),
        version("L1", at(3, 10), "converted"),
        version("L1", at(3, 1), "converted", at(3, 15)),
    )
    assert label(("L1", at(3, 2)), *early_conversion_told_late) == [False]


def test_the_same_delivery_twice_changes_nothing():
    rows = version("L1", at(3, 1), "new"), version("L1", at(3, 10), "converted"), version("L1", at(3, 10), "converted")
    assert label(("L1", at(3, 2)), *rows) == [True]


def test_at_equal_times_the_source_position_decides_what_came_before():
    rows = (
        version("L1", at(3, 2), "new", position="1"),
        version("L1", at(3, 5), "working", position="2"),
        version("L1", at(3, 5), "converted", position="3"),
    )
    found = labels(spine(("L1", at(3, 2))), *rows)
    assert found["label_event_time"].to_list() == [at(3, 5)]


def test_rows_whose_outcome_lies_beyond_the_watermark_are_left_out():
    question = spine(("L1", at(3, 2)), ("L1", at(3, 2) + US))
    found = labels(question, version("L1", at(3, 1), "new"), watermark=at(4, 3))
    assert found["as_of"].to_list() == [at(3, 2)]


def test_the_spine_keeps_its_order_its_duplicates_and_its_other_columns():
    question = pl.DataFrame(
        {
            "entity_id": ["L2", "L1", None, "L2"],
            "as_of": [at(3, 2), at(3, 9), at(3, 2), at(3, 2)],
            "weight": [1, 2, 3, 4],
        },
        schema_overrides={"as_of": UTC_US},
    )
    found = labels(question, version("L2", at(3, 1), "new"), version("L2", at(3, 20), "converted"))
    assert found.select("entity_id", "weight", "label").rows() == [
        ("L2", 1, True),
        ("L1", 2, False),
        (None, 3, False),
        ("L2", 4, True),
    ]


def test_versions_without_a_needed_column_are_refused_by_name():
    with pytest.raises(LabelError, match="lack changed_fields, status"):
        label_conversions(spine(("L1", at(3, 2))), versions().drop("changed_fields", "status"), OUTCOME, watermark=FAR)


def test_a_watermark_without_a_zone_is_refused():
    with pytest.raises(LabelError, match="no time zone"):
        label_conversions(spine(), versions(), OUTCOME, watermark=datetime(2026, 4, 1))  # noqa: DTZ001


def test_a_horizon_that_holds_no_moment_is_refused():
    with pytest.raises(LabelError, match="horizon"):
        Conversion("status", "converted", timedelta(0))


def test_the_grid_steps_by_weeks_and_ends_by_its_last_moment():
    assert grid(at(3, 2), at(3, 16)).to_list() == [at(3, 2), at(3, 9), at(3, 16)]
    assert grid(at(3, 2), at(3, 16) - US).to_list() == [at(3, 2), at(3, 9)]
    assert grid(at(3, 2), at(3, 1)).to_list() == []


def test_the_last_mature_moment_leaves_room_for_horizon_and_grace():
    assert last_mature(at(4, 3), OUTCOME) == at(3, 2)


LIVES = (
    version("open", at(3, 1), "new"),
    version("converted", at(3, 1), "new"),
    version("converted", at(3, 9), "converted", changed=["status"]),
    version("lost", at(3, 1), "new"),
    version("lost", at(3, 5), "lost", changed=["status"]),
    version("deleted", at(3, 1), "new"),
    version("deleted", at(3, 4), None, tombstone=True, changed=[]),
    version("late", at(3, 1), "new", at(3, 12)),
    version("unsaid", at(3, 1), None),
)


def rows_at(moment, merges=None, *more):
    asked = pl.Series("as_of", [moment], dtype=UTC_US)
    return open_spine(versions(*LIVES, *more), asked, OUTCOME, merges)["entity_id"].to_list()


def test_the_spine_asks_about_what_is_known_alive_and_open():
    assert rows_at(at(3, 2)) == ["converted", "deleted", "lost", "open", "unsaid"]
    assert rows_at(at(3, 16)) == ["late", "open", "unsaid"]


def test_the_spine_sees_a_change_at_the_very_moment_it_becomes_known():
    assert "converted" in rows_at(at(3, 9) - US)
    assert "converted" not in rows_at(at(3, 9))
    assert "late" not in rows_at(at(3, 12) - US)
    assert "late" in rows_at(at(3, 12))


def test_nobody_asks_before_anything_is_known():
    assert rows_at(at(3, 1) - US) == []


def test_a_lead_that_was_merged_away_is_asked_about_only_before():
    merges = pl.DataFrame(
        {"loser_id": ["unsaid"], "winner_id": ["open"], "event_time": [at(3, 6)], "processed_time": [at(3, 6)]},
        schema_overrides={"event_time": UTC_US, "processed_time": UTC_US},
    )
    assert rows_at(at(3, 6) - US, merges) == ["converted", "open", "unsaid"]
    assert rows_at(at(3, 6), merges) == ["converted", "open"]


def test_the_spine_has_one_row_per_entity_and_moment_in_order():
    asked = grid(at(3, 2), at(3, 16))
    found = open_spine(versions(version("b", at(3, 1), "new"), version("a", at(3, 8), "new")), asked, OUTCOME)
    assert found.rows() == [("a", at(3, 9)), ("a", at(3, 16)), ("b", at(3, 2)), ("b", at(3, 9)), ("b", at(3, 16))]
