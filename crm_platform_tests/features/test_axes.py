import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_platform.features.axes import Axis, distinct_pairs
from crm_platform.history import orders
from crm_platform.history.orders import grouped, order_by

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-30, 30)), max_size=40)


def arrays(pairs):
    flat = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return flat[:, 0].copy(), flat[:, 1].copy()


@pytest.mark.parametrize("bits", [63, 4])
@given(rows=PAIRS, asked=PAIRS)
@settings(max_examples=150, deadline=None)
def test_a_place_on_an_axis_is_where_a_scan_finds_it(bits, rows, asked):
    rows, found = sorted(rows), {}
    orders.KEY_BITS, before = bits, orders.KEY_BITS
    axis = Axis(*arrays(rows), 5)
    found["first_at"] = axis.first_at(*arrays(asked)).tolist()
    found["last_by"] = axis.last_by(*arrays(asked)).tolist()
    orders.KEY_BITS = before
    assert found["first_at"] == [sum(row < (entity, moment) for row in rows) for entity, moment in asked]
    assert found["last_by"] == [
        max((n for n, row in enumerate(rows) if row[0] == entity and row[1] <= moment), default=-1)
        for entity, moment in asked
    ]


@given(PAIRS)
@settings(max_examples=150, deadline=None)
def test_distinct_pairs_are_sorted_and_once_each(rows):
    entity, moment = distinct_pairs(*arrays(rows))
    assert list(zip(entity.tolist(), moment.tolist(), strict=True)) == sorted(set(rows))


@given(st.lists(st.integers(0, 2**61), max_size=30) | st.lists(st.integers(0, 3), max_size=30))
@settings(max_examples=150, deadline=None)
def test_a_stable_order_keeps_equal_values_as_they_stood(values):
    expected = sorted(range(len(values)), key=values.__getitem__)
    assert grouped(np.array(values, dtype=np.int64))[1].tolist() == expected


def test_moments_far_outside_the_axis_are_found_at_its_ends():
    axis = Axis(*arrays([(0, 5), (1, 7)]), 2)
    far = np.array([np.iinfo(np.int64).max, np.iinfo(np.int64).min])
    assert axis.first_at(np.array([0, 1]), far).tolist() == [1, 1]
    assert axis.last_by(np.array([0, 1]), far).tolist() == [0, -1]


@pytest.mark.parametrize("bits", [63, 12, 9, 4])
@given(PAIRS)
@settings(max_examples=150, deadline=None)
def test_rows_are_ordered_by_entity_and_moment_equal_ones_as_they_stood_however_few_bits_there_are(bits, pairs):
    orders.KEY_BITS, before = bits, orders.KEY_BITS
    entity, moment = arrays(pairs)
    found = order_by(entity, moment)
    orders.KEY_BITS = before
    wanted = sorted(range(len(pairs)), key=lambda row: pairs[row])
    assert (found is None) == (wanted == list(range(len(pairs))))
    assert (wanted if found is None else found.tolist()) == wanted
