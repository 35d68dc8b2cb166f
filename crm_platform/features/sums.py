"""Exact sums of many numbers at many places: whole numbers of 128 bits in pieces of 32, and no rounding on the way.

Money is summed in its minor unit, floating-point numbers in a power of two that holds them all; what was added and
taken away again leaves nothing behind. Which numbers count where is the caller's.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]

from crm_platform.contracts import PermanentError
from crm_platform.history.codes import Flags, Ints

LIMB = 32
MASK = (1 << LIMB) - 1
SAFE = 1 << 62
SQUARABLE = 1 << 58
SUM_BITS = 125
"""How many bits a sum of floating-point numbers may take."""
COARSE_BITS = 56
"""How many bits a floating-point number may take whose square is summed."""
COARSE_STEP = 8
"""By how many bits at once such numbers become coarser, so that one more great number seldom changes the others."""


class AmountError(PermanentError):
    """A column cannot be summed."""

    @classmethod
    def of_type(cls, column: str, dtype: pl.DataType) -> "AmountError":
        """Says that a column holds no numbers."""
        return cls(f"Column {column} is {dtype} and cannot be summed. Sum a column of numbers, or count it instead.")

    @classmethod
    def endless(cls, column: str, rows: int) -> "AmountError":
        """Says that numbers are infinite or none."""
        return cls(
            f"Column {column} has {rows} values that are infinite or not a number. Make them null before summing."
        )


@dataclass(frozen=True)
class Amounts:
    """Numbers as whole numbers: each is the sum of `limbs[k]` · 2^(32 k), times 10^-digits · 2^-shift; nulls are 0.

    Attributes:
        limbs: One array per piece.
        dtype: What a sum of them is.
        digits: Decimal places.
        shift: Binary places.
        is_given: Where there is a number.
        whole: The numbers in one piece, where they may be squared.
    """

    limbs: list[Ints]
    dtype: pl.DataType
    digits: int
    shift: int
    is_given: Flags
    whole: Ints | None = None

    @cached_property
    def given(self) -> Ints:
        """1 where there is a number, else 0."""
        return self.is_given.astype(np.int64)

    @cached_property
    def squares(self) -> list[Ints]:
        """The numbers' squares in pieces, where they may be squared."""
        return squares_of(self)

    def total(self, sums: list[Ints]) -> pl.Series:
        """Sums of the pieces, as numbers."""
        whole = whole_numbers(sums)
        if isinstance(self.dtype, pl.Decimal):
            return _decimals(sums, self.digits)
        return self._as_float(whole) if self.dtype == pl.Float64 else whole.cast(self.dtype)

    def mean(self, sums: list[Ints], counts: Ints) -> pl.Series:
        """Sums of the pieces over counts; null where the count is 0."""
        n = pl.Series(counts)
        return self._as_float(whole_numbers(sums)) / (n.set(n == 0, None) * 10**self.digits)

    def _as_float(self, whole: pl.Series) -> pl.Series:
        return _halved(whole.cast(pl.Float64), self.shift)


def amounts_of(column: pl.Series, *, squarable: bool = False) -> Amounts:
    """Reads a column of numbers.

    Args:
        column: Integers, booleans, decimals or floating-point numbers.
        squarable: Whether the numbers must be small enough for sums of squares; very large or very fine ones are
            rounded then.

    Raises:
        AmountError: The column holds something else, or numbers without end.
    """
    given = column.is_not_null().to_numpy()
    dtype = column.dtype
    if dtype.is_float():
        return _of_floats(column, given, squarable=squarable)
    if not (dtype.is_integer() or isinstance(dtype, pl.Boolean | pl.Null | pl.Decimal)):
        raise AmountError.of_type(column.name, dtype)
    digits = dtype.scale if isinstance(dtype, pl.Decimal) else 0
    summed: pl.DataType = pl.Decimal(38, digits) if isinstance(dtype, pl.Decimal) else pl.Int64()
    physical = column.to_physical() if isinstance(dtype, pl.Decimal) else column.cast(pl.Int128)
    whole = physical.fill_null(0)
    most = max(abs(int(whole.max() or 0)), abs(int(whole.min() or 0)))  # pyright: ignore[reportArgumentType]
    if squarable and most >= SQUARABLE:
        return _of_floats(column.cast(pl.Float64), given, squarable=True)
    if squarable or most * max(len(column), 1) < SAFE:
        narrow = whole.cast(pl.Int64).to_numpy()
        return Amounts(_safe(narrow), summed, digits, 0, given, narrow)
    return Amounts(_limbs(whole), summed, digits, 0, given)


def squares_of(amounts: Amounts) -> list[Ints]:
    """The squares of squarable amounts, in pieces."""
    values = amounts.whole if amounts.whole is not None else np.zeros(0, dtype=np.int64)
    most = int(np.abs(values).max()) if len(values) else 0
    if most * most * max(len(values), 1) < SAFE:
        return [values * values]
    low, high = values & MASK, values >> LIMB
    lowest = (low.astype(np.uint64) * low.astype(np.uint64)).view(np.uint64)
    cross = 2 * high * low
    highest = high * high
    return [
        (lowest & np.uint64(MASK)).astype(np.int64),
        (lowest >> np.uint64(LIMB)).astype(np.int64) + (cross & MASK),
        (cross >> LIMB) + (highest & MASK),
        highest >> LIMB,
    ]


def deviation(amounts: Amounts, sums: list[Ints], squares: list[Ints], counts: Ints) -> pl.Series:
    """The standard deviation of samples, from counts, sums and sums of squares; null below two."""
    n = pl.Series(counts)
    told = n.set(n < 2, None)  # noqa: PLR2004  a sample of one has no deviation
    wide = told.cast(pl.Int128)
    total, square = whole_numbers(sums), whole_numbers(squares)
    centre = total // wide
    rest = total - centre * wide
    around = (square - centre * (total + rest)).cast(pl.Float64) - rest.cast(pl.Float64) ** 2 / told
    variance = around / (told - 1)
    variance = variance.set(variance < 0, 0.0)
    return _halved(variance.sqrt() / 10**amounts.digits, amounts.shift)


def _halved(column: pl.Series, times: int) -> pl.Series:
    """A column over 2^times, in two strides, as one would leave the range of floating-point numbers."""
    return column * 2.0 ** -(times // 2) * 2.0 ** -(times - times // 2)


def whole_numbers(limbs: list[Ints]) -> pl.Series:
    """Pieces as whole numbers of 128 bits."""
    if len(limbs) == 1:
        return pl.Series(limbs[0]).cast(pl.Int128)
    return _decimals(limbs, 0).to_physical()


def _decimals(limbs: list[Ints], digits: int) -> pl.Series:
    """Pieces as exact decimals."""
    words = np.empty((len(limbs[0]), 2), dtype=np.int64)
    if len(limbs) == 1:
        words[:, 0], words[:, 1] = limbs[0], limbs[0] >> 63
    else:
        parts: list[Ints] = []
        carry = np.zeros(len(limbs[0]), dtype=np.int64)
        for index in range(4):
            piece = carry + limbs[index] if index < len(limbs) else carry
            parts.append(piece & MASK)
            carry = piece >> LIMB
        words[:, 0] = parts[0] | (parts[1] << LIMB)
        words[:, 1] = parts[2] | (parts[3] << LIMB)
    return pl.Series(_decimal_array(words, digits))


def _decimal_array(words: Ints, digits: int) -> Any:
    """Pairs of 64-bit words, the lower first, as an Arrow array; Arrow ships no types."""
    arrow: Any = pa
    return arrow.Array.from_buffers(arrow.decimal128(38, digits), len(words), [None, arrow.py_buffer(words)])


def _safe(values: Ints) -> list[Ints]:
    """Numbers of 64 bits in as many pieces as their sum needs."""
    most = max(abs(int(values.max())), abs(int(values.min()))) if len(values) else 0
    return [values] if most * len(values) < SAFE else [values & MASK, values >> LIMB]


def _limbs(whole: pl.Series) -> list[Ints]:
    """Whole numbers of 128 bits in pieces."""
    base = pl.Series([1 << LIMB], dtype=pl.Int128)
    pieces: list[Ints] = []
    rest = whole
    for _ in range(3):
        quotient = rest // base
        pieces.append((rest - quotient * base).cast(pl.Int64).to_numpy())
        rest = quotient
    return [*pieces, rest.cast(pl.Int64).to_numpy()]


def _of_floats(column: pl.Series, given: Flags, *, squarable: bool) -> Amounts:
    """Floating-point numbers in the power of two that holds them all, or else the largest as finely as there is room."""
    values = column.cast(pl.Float64).fill_null(0.0).to_numpy()
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise AmountError.endless(column.name, int(wrong.sum()))
    used = values[values != 0]
    if not len(used):
        nothing = np.zeros(len(values), dtype=np.int64)
        return Amounts([nothing], pl.Float64(), 0, 0, given, nothing)
    fraction, exponent = np.frexp(used)
    mantissa = (np.abs(fraction) * 2.0**53).astype(np.int64)
    trailing = np.frexp((mantissa & -mantissa).astype(np.float64))[1] - 1
    finest = int((exponent - 53 + trailing).min())
    highest = int(exponent.max())
    room = COARSE_BITS + -highest // COARSE_STEP * COARSE_STEP
    if not squarable:
        room = SUM_BITS - len(values).bit_length() - highest
    shift = min(-finest, room)
    scaled = np.rint(np.ldexp(values, shift))
    width = highest + shift
    if width <= COARSE_BITS:
        narrow = scaled.astype(np.int64)
        return Amounts(_safe(narrow), pl.Float64(), 0, shift, given, narrow)
    pieces: list[Ints] = []
    rest = scaled
    for index in (3, 2, 1, 0):
        piece = np.floor(np.ldexp(rest, -LIMB * index))
        rest = rest - np.ldexp(piece, LIMB * index)
        pieces.append(piece.astype(np.int64))
    return Amounts(pieces[::-1], pl.Float64(), 0, shift, given)
