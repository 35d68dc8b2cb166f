"""Registers walked in every way there is are the same registers."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_platform.history.registers import VersionsError, steps_of

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
SCHEMA = {
    "entity_id": pl.String,
    "event_time": pl.Datetime("us", "UTC"),
    "processed_time": pl.Datetime("us", "UTC"),
    "source_position": pl.String,
    "is_tombstone": pl.Boolean,
    "changed_fields": pl.List(pl.String),
    "stage": pl.Int64,
    "amount": pl.Int64,
}
MOMENTS = st.integers(0, 5).map(lambda hours: START + dt.timedelta(hours=hours))
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h", None]),
        MOMENTS,
        MOMENTS,
        st.sampled_from(["1", "2", "3"]),
        st.booleans(),
        st.sampled_from([None, None, ["stage"], ["amount"], ["stage", "amount"]]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=14,
)
FIELDS = ["stage", "amount"]


SINGLE = [(f"{letter}{letter}", START, START, "1", letter == "c", None, 7, 8) for letter in "abcdefghijklmnop"]
"""Entities with one version, between the others: most rows are theirs."""


def framed(rows, *, is_sorted):
    frame = pl.DataFrame([*rows, *SINGLE], schema=SCHEMA, orient="row")
    frame = frame.unique(["entity_id", "event_time", "processed_time", "source_position"], maintain_order=True)
    order = ["entity_id", "event_time", "processed_time", "source_position"]
    return frame.sort(order, maintain_order=True) if is_sorted else frame


def told(steps):
    """What every step shows, entities by their number."""
    return [
        steps.entity.tolist(),
        steps.since.tolist(),
        steps.until.tolist(),
        steps.is_tombstone.tolist(),
        *(steps.shown(field).to_list() for field in FIELDS),
    ]


@pytest.mark.parametrize("is_sorted", [True, False])
@pytest.mark.parametrize("is_lazy", [True, False])
@given(rows=ROWS)
@settings(max_examples=200, deadline=None)
def test_steps_without_ids_show_what_steps_with_ids_show(is_sorted, is_lazy, rows):
    frame = framed(rows, is_sorted=is_sorted)
    asked = frame.lazy() if is_lazy else frame
    assert told(steps_of(asked, FIELDS, is_named=False)) == told(steps_of(asked, FIELDS))


@given(rows=ROWS)
@settings(max_examples=200, deadline=None)
def test_entities_with_one_version_among_others_are_walked_as_they_are_alone(rows):
    frame = framed(rows, is_sorted=True).filter(pl.col("entity_id").is_not_null())
    whole = steps_of(frame, FIELDS)
    for number, name in enumerate(whole.ids):
        alone = steps_of(frame.filter(entity_id=name), FIELDS)
        here = [
            [value for value, who in zip(column, whole.entity, strict=True) if who == number] for column in told(whole)
        ]
        assert here[1:] == told(alone)[1:]


def test_a_time_or_an_id_can_be_a_field_although_it_is_let_go_of_otherwise():
    frame = pl.DataFrame([("a", START, START, "1", False, None, 1, 1)], schema=SCHEMA, orient="row")
    for is_named in (True, False):
        found = steps_of(frame, ["entity_id", "event_time", "source_position"], is_named=is_named)
        shown = [found.shown(field).item() for field in ("entity_id", "event_time", "source_position")]
        assert shown == ["a", START, "1"]


def test_a_version_at_the_same_times_is_put_in_order_by_its_position():
    second = ("a", START, START, "2", False, None, 2, 2)
    first = ("a", START, START, "1", False, None, 1, 1)
    frame = pl.DataFrame([second, first], schema=SCHEMA, orient="row")
    assert steps_of(frame, FIELDS, is_named=False).shown("stage").to_list() == [2]


def test_a_version_without_a_time_is_refused_whether_or_not_ids_are_held():
    frame = pl.DataFrame([("a", START, None, "1", False, None, 1, 1)], schema=SCHEMA, orient="row")
    for is_named in (True, False):
        with pytest.raises(VersionsError, match="1 rows of the versions have no processed_time"):
            steps_of(frame, FIELDS, is_named=is_named)
