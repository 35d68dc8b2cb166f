"""Fingerprints: equal content is equal whatever the order, other content is other."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_platform.lake.content import fingerprint, fingerprints_by

ROW = {
    "entity_id": "a",
    "at": datetime(2026, 3, 1, tzinfo=UTC),
    "day": date(2026, 3, 1),
    "amount": Decimal("1.20"),
    "score": 0.5,
    "names": ["x", None],
    "is_open": True,
    "count": 3,
}
SCHEMA = pl.Schema(
    {
        "entity_id": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "day": pl.Date(),
        "amount": pl.Decimal(18, 2),
        "score": pl.Float64(),
        "names": pl.List(pl.String),
        "is_open": pl.Boolean(),
        "count": pl.Int64(),
    }
)


def frame(*changes: dict) -> pl.DataFrame:
    return pl.DataFrame([ROW | change for change in changes], schema=SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"entity_id": None},
        {"entity_id": ""},
        {"at": datetime(2026, 3, 1, 0, 0, 0, 1, tzinfo=UTC)},
        {"day": date(2026, 3, 2)},
        {"amount": Decimal("1.21")},
        {"amount": None},
        {"score": 0.5000000000000001},
        {"score": None},
        {"names": None},
        {"names": []},
        {"names": [None]},
        {"names": [None, "x"]},
        {"names": ["x"]},
        {"is_open": False},
        {"is_open": None},
        {"count": 0},
        {"count": None},
    ],
)
def test_a_single_changed_value_changes_the_fingerprint(change):
    assert fingerprint(frame(change)) != fingerprint(frame({}))
    assert fingerprint(frame(change, {})) != fingerprint(frame({}, {}))


def test_both_zeros_and_all_nans_are_one_value():
    assert fingerprint(frame({"score": 0.0})) == fingerprint(frame({"score": -0.0}))
    assert fingerprint(frame({"score": float("nan")})) == fingerprint(frame({"score": -float("nan")}))
    assert fingerprint(frame({"score": float("nan")})) != fingerprint(frame({"score": None}))


def test_a_row_twice_is_not_a_row_once_nor_no_row():
    assert fingerprint(frame({}, {})) != fingerprint(frame({}))
    assert fingerprint(frame({}, {}, {}, {})) != fingerprint(frame({}, {}))
    assert fingerprint(frame()) == (0, 0, 0)


def test_values_in_swapped_columns_differ():
    one = pl.DataFrame({"a": ["x", None], "b": [None, "y"]})
    other = pl.DataFrame({"a": [None, "y"], "b": ["x", None]})
    assert fingerprint(one) != fingerprint(other)


def test_the_order_of_columns_does_not_matter():
    assert fingerprint(frame({}).select(sorted(SCHEMA))) == fingerprint(frame({}))


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "entity_id": st.sampled_from(["a", "b", None]),
            "names": st.sampled_from([None, [], ["x"], ["x", None]]),
            "count": st.integers(-2, 2),
        }
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_and_any_chunks_give_the_same_fingerprint(rows, random, size):
    shuffled = random.sample(rows, len(rows))
    whole = frame(*rows)
    parts = [frame(*shuffled[start : start + size]) for start in range(0, len(rows), size)] or [frame()]
    chunked = pl.concat(parts, rechunk=False)
    assert fingerprint(chunked) == fingerprint(whole)
    assert fingerprint(chunked.lazy()) == fingerprint(whole)
    assert fingerprints_by(chunked, "count", list(SCHEMA)) == fingerprints_by(whole, "count", list(SCHEMA))


@settings(max_examples=40, deadline=None)
@given(ROWS, ROWS)
def test_other_rows_give_another_fingerprint(one, other):
    told, wanted = (sorted(repr(sorted(row.items())) for row in rows) for rows in (one, other))
    assert (fingerprint(frame(*one)) == fingerprint(frame(*other))) is (told == wanted)


def test_a_fingerprint_is_the_same_in_every_process_as_training_manifests_keep_it():
    assert fingerprint(frame({}, {"score": None, "names": None})) == (2, 17801211869082208165, 696860488352809075)
