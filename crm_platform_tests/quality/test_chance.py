"""What chance does to two samples of one population: bounds worked out by hand, and held against many drawn pairs."""

import numpy as np
import pytest

from crm_platform.quality.chance import counts_apart, index_of, is_over_times, shares_apart
from crm_platform.quality.stability import psi


def test_shares_of_two_hundred_rows_differ_by_a_fifth_and_of_two_million_by_a_five_hundredth():
    """Four times the root of a half times a half times two over the rows, and one row."""
    assert shares_apart((100, 200), (100, 200)) == pytest.approx(0.205)
    assert shares_apart((1_000_000, 2_000_000), (1_000_000, 2_000_000)) == pytest.approx(0.0020005)


def test_one_row_of_two_is_nothing_even_where_none_of_many_was():
    assert shares_apart((0, 100), (1, 2)) > 0.5
    assert shares_apart((0, 100), (3, 3)) < 1


def test_counts_differ_by_four_roots_of_their_sum():
    assert counts_apart(50, 50) == pytest.approx(0.8)
    assert counts_apart(5_000, 5_000) == pytest.approx(0.08)


def test_twice_as_many_are_over_twice_only_beyond_four_deviations():
    """130 − 2 · 62 is 6, and four times the root of 130 + 4 · 62 is 77.8; 1200 − 2 · 400 is 400, against 211.7."""
    assert not is_over_times(2, 130, 62)
    assert is_over_times(2, 1200, 400)


def test_the_index_of_one_bin_is_nothing_and_of_two_that_of_a_squared_deviation():
    """For one degree the quantile is (1 − 2/9 + 4 · √(2/9))³ = 18.893."""
    assert index_of(1, 100, 100) == 0.0
    assert index_of(2, 100, 100) == pytest.approx(18.893 * 0.02, abs=1e-4)


@pytest.mark.parametrize(("usual", "found"), [(150, 150), (1_000, 200), (20_000, 400)])
def test_pairs_of_samples_of_one_population_stay_below_the_bound_and_come_near_it(usual, found):
    dice, shares = np.random.default_rng(7), np.full(10, 0.1)
    drawn = [psi(*(dice.multinomial(rows, shares).tolist() for rows in (usual, found))) for _ in range(2_000)]
    assert 0.35 * index_of(10, usual, found) < max(drawn) < index_of(10, usual, found)
