import random
import statistics
from decimal import Decimal
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from crm_platform.features.sums import AmountError, amounts_of, deviation


def total(column):
    amounts = amounts_of(column)
    return amounts.total([np.array([limb.sum()]) for limb in amounts.limbs])[0]


def deviation_of(column):
    amounts = amounts_of(column, squarable=True)
    sums, squares = ([np.array([limb.sum()]) for limb in limbs] for limbs in (amounts.limbs, amounts.squares))
    return deviation(amounts, sums, squares, np.array([len(column) - column.null_count()]))[0]


def decimals(*values):
    return pl.Series("amount", [None if value is None else Decimal(value) for value in values], pl.Decimal(38, 2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0.10", "0.20", None], "0.30"),
        (["99999999999999999999999999999999.99", "0.01"], "100000000000000000000000000000000.00"),
        (["-99999999999999999999999999999999.99", "99999999999999999999999999999999.98"], "-0.01"),
        ([None, None], "0.00"),
    ],
)
def test_money_is_summed_to_the_last_cent_however_great(values, expected):
    assert total(decimals(*values)) == Decimal(expected)


def test_great_whole_numbers_do_not_overflow_on_the_way():
    values = [2**62, 2**62, -(2**62), -(2**62), 7]
    assert total(pl.Series("n", values, pl.Int64)) == 7


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1] * 10, 1.0),
        ([1e16, 1.0, -1e16], 1.0),
        ([1e20, 0.5, -1e20, 1e-9], 0.500000001),
        ([], 0.0),
        ([1e-300], 1e-300),
    ],
)
def test_floating_point_numbers_are_summed_exactly_and_rounded_once(values, expected):
    assert total(pl.Series("x", values, pl.Float64)) == expected


def test_sums_of_random_numbers_are_what_fractions_give():
    rng = random.Random(7)
    for _ in range(50):
        values = [rng.uniform(-1, 1) * 10 ** rng.randint(-6, 9) for _ in range(200)]
        assert total(pl.Series("x", values)) == float(sum(map(Fraction, values)))


def test_truth_values_count_as_one_and_zero():
    assert total(pl.Series("is_won", [True, None, False, True])) == 2


@pytest.mark.parametrize("spread", [10, 10**9, 10**16])
def test_deviations_are_those_of_a_sample_whatever_the_size_of_the_numbers(spread):
    rng = random.Random(spread)
    cents = [rng.randint(-spread, spread) for _ in range(300)]
    expected = statistics.stdev([Fraction(cent, 100) for cent in cents])
    assert deviation_of(
        decimals(*[f"{cent / 100:.2f}" if spread < 10**12 else f"{Decimal(cent) / 100}" for cent in cents])
    ) == pytest.approx(expected, rel=1e-12)
    assert deviation_of(pl.Series("x", [cent / 100 for cent in cents])) == pytest.approx(expected, rel=1e-9)


def test_the_deviation_of_equal_numbers_is_nothing_and_of_one_is_unknown():
    assert deviation_of(decimals("12345678901234.56", "12345678901234.56", "12345678901234.56")) == 0.0
    assert deviation_of(pl.Series("x", [0.1, 0.1, 0.1])) == 0.0
    assert deviation_of(pl.Series("x", [0.1, None])) is None


def test_what_is_no_number_is_refused():
    with pytest.raises(AmountError, match="Column day is Date and cannot be summed"):
        amounts_of(pl.Series("day", [None], pl.Date))
    with pytest.raises(AmountError, match="Column x has 2 values that are infinite or not a number"):
        amounts_of(pl.Series("x", [1.0, float("inf"), float("nan")]))
