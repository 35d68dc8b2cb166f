"""Features over activities at many moments at once, whatever order was recorded, retracted or merged in.

Every contribution counts over a range of the moments asked about, once these are sorted by entity and time. Counts and
sums are differences at the ends of ranges, summed up; distinct values are ranges united per value; the first, the last
and extremes are the greatest rank among the ranges that cover a moment. Nothing is joined with anything.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.axes import Axis, is_new, stable_order
from crm_platform.features.columns import Columns, at_rows
from crm_platform.features.segments import Contributions
from crm_platform.features.sums import deviation
from crm_platform.features.views import (
    Count,
    Distinct,
    Feature,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Std,
    Sum,
    Windowed,
)
from crm_platform.history.codes import Flags, Ints, positions

MICROSECOND = timedelta(microseconds=1)


def micros(span: timedelta | None) -> int | None:
    """A stretch of time in µs."""
    return None if span is None else span // MICROSECOND


@dataclass(frozen=True)
class Ranges:
    """Which contributions count over which moments: rows `[low, high)` of the moments' axis, none of them empty."""

    which: Ints
    low: Ints
    high: Ints

    def where(self, chosen: Flags) -> "Ranges":
        """Those of some contributions."""
        kept = chosen[self.which]
        return Ranges(self.which[kept], self.low[kept], self.high[kept])


@dataclass
class Windows:
    """The features of contributions at the moments of an axis; what two features share is computed once.

    Attributes:
        known: The contributions, all of entities on the axis.
        axis: The moments asked about.
        read: The activities' columns.
    """

    known: Contributions
    axis: Axis
    read: Columns
    _low: Ints | None = None
    _highs: dict[int | None, Ints] = field(default_factory=dict[int | None, Ints])
    _read: dict[int, Ints] = field(default_factory=dict[int, Ints])
    _by_value: dict[str, Ints] = field(default_factory=dict[str, Ints])
    _ranges: dict[int | None, Ranges] = field(default_factory=dict[int | None, Ranges])
    _timely: Ints | None = None
    _winning: dict[bool, Ints] = field(default_factory=dict[bool, Ints])

    def columns(self, view: FeatureView) -> dict[str, pl.Series]:
        """All features over activities, by name; one value per moment."""
        found: dict[str, pl.Series] = {}
        for feature in view.over_activities:
            found |= self._feature(feature)
        return found

    def _feature(self, feature: Feature) -> dict[str, pl.Series]:
        name = feature.columns[0] if feature.columns else ""
        if isinstance(feature, Count):
            return {name: pl.Series(self._counts(self._in(feature)))}
        if isinstance(feature, Sum):
            return self._sums(feature)
        if isinstance(feature, Mean | Std):
            return {name: self._moments(feature)}
        if isinstance(feature, Distinct):
            return {name: pl.Series(self._distinct(feature))}
        if isinstance(feature, Min | Max):
            return {name: self._extreme(feature)}
        chosen = self._by_time(earliest=isinstance(feature, First))
        moments = pl.Series(self.known.occurred_at)
        shows = isinstance(feature, First | Last)
        return {
            name: self._shown(str(feature.column), chosen) if shows else moments.gather(positions(chosen)).cast(UTC_US)
        }

    def _starts(self) -> Ints:
        """The first moment at which each contribution can count."""
        if self._low is None:
            self._low = self.axis.first_at(self.known.entity, self.known.starts())
        return self._low

    def _covers(self, feature: Windowed) -> Flags:
        """Which contributions stand in a feature's window at any moment."""
        span = micros(feature.span)
        if span not in self._highs:
            self._highs[span] = self.axis.first_at(self.known.entity, self.known.ends(span))
        return self._starts() < self._highs[span]

    def _in(self, feature: Windowed) -> Ranges:
        """The ranges over which contributions stand in a feature's window."""
        span = micros(feature.span)
        if span not in self._ranges:
            which = np.flatnonzero(self._covers(feature))
            self._ranges[span] = Ranges(which, self._starts()[which], self._highs[span][which])
        return self._ranges[span]

    def _counts(self, ranges: Ranges) -> Ints:
        size = len(self.axis) + 1
        change = np.bincount(ranges.low, minlength=size) - np.bincount(ranges.high, minlength=size)
        return np.cumsum(change)[:-1]

    def _totals(self, ranges: Ranges, pieces: list[Ints]) -> list[Ints]:
        """The sums of each piece at each moment."""
        totals: list[Ints] = []
        for piece in pieces:
            change = np.zeros(len(self.axis) + 1, dtype=np.int64)
            values = piece[ranges.which]
            np.add.at(change, ranges.low, values)
            np.subtract.at(change, ranges.high, values)
            totals.append(np.cumsum(change)[:-1])
        return totals

    def _shown(self, column: str, chosen: Ints) -> pl.Series:
        """What a column shows in one contribution per moment; null at -1."""
        return self.read.shown(column, self._rows(column, chosen))

    def _rows(self, column: str, chosen: Ints) -> Ints:
        winners = self.known.winners[column]
        return np.where(chosen < 0, -1, winners[chosen]) if len(winners) else chosen

    def _at(self, values: list[Ints], column: str) -> list[Ints]:
        """Numbers of all versions, as each contribution shows them; read once for all windows."""
        for one in values:
            if id(one) not in self._read:
                self._read[id(one)] = at_rows(one, self.known.winners[column])
        return [self._read[id(one)] for one in values]

    def _sums(self, feature: Sum) -> dict[str, pl.Series]:
        amounts, ranges = self.read.amounts(str(feature.column)), self._in(feature)
        limbs = self._at(amounts.limbs, str(feature.column))
        if feature.currency is None:
            return {feature.columns[0]: amounts.total(self._totals(ranges, limbs))}
        currency = self.read.shown(feature.currency, self.known.winners[feature.currency])
        found: dict[str, pl.Series] = {}
        for name, code in zip(feature.columns, feature.currencies, strict=True):
            chosen = ranges.where((currency == code).fill_null(value=False).to_numpy())
            found[name] = amounts.total(self._totals(chosen, limbs))
        return found

    def _moments(self, feature: Mean | Std) -> pl.Series:
        column = str(feature.column)
        amounts = self.read.amounts(column, squarable=isinstance(feature, Std))
        (given,) = self._at([amounts.given], column)
        ranges = self._in(feature).where(given > 0)
        counts, sums = self._counts(ranges), self._totals(ranges, self._at(amounts.limbs, column))
        if isinstance(feature, Mean):
            return amounts.mean(sums, counts)
        return deviation(amounts, sums, self._totals(ranges, self._at(amounts.squares, column)), counts)

    def _codes_of(self, column: str) -> Ints:
        """A column's values as numbers in their own order; 0 for null."""
        return self._at([self.read.codes(column)], column)[0]

    def _distinct(self, feature: Distinct) -> Ints:
        """How many values have a range: the ranges of each, united where they touch, then counted."""
        column = str(feature.column)
        codes = self._codes_of(column)
        bits = len(self.axis).bit_length()
        if column not in self._by_value:
            order = stable_order((codes << bits) | self._starts())
            self._by_value[column] = order[codes[order] > 0]
        order = self._by_value[column]
        order = order[self._covers(feature)[order]]
        value, high = codes[order] << bits, self._highs[micros(feature.span)][order]
        low = value | self._starts()[order]
        reached = np.maximum.accumulate(value | high)
        begins = np.ones(len(low), dtype=np.bool_)
        begins[1:] = low[1:] > reached[:-1]
        ends = np.append(begins[1:], True) if len(begins) else begins
        mask = (1 << bits) - 1
        return self._counts(Ranges(np.flatnonzero(begins), low[begins] & mask, reached[ends] & mask))

    def _extreme(self, feature: Min | Max) -> pl.Series:
        codes = self._codes_of(str(feature.column))
        ranges = self._in(feature).where(codes > 0)
        rank = codes[ranges.which]
        found = highest(ranges, rank if isinstance(feature, Max) else rank.max(initial=0) + 1 - rank, len(self.axis))
        return self._shown(str(feature.column), _picked(ranges.which, found))

    def _by_time(self, *, earliest: bool) -> Ints:
        """The contribution that is first or last at each moment, of all time; -1 for none."""
        if earliest not in self._winning:
            if self._timely is None:
                self._timely = _rank_in_time(self.known, self.read)
            ranges = self._in(Count())
            rank = self._timely[ranges.which]
            found = highest(ranges, len(self.known) - rank if earliest else rank + 1, len(self.axis))
            self._winning[earliest] = _picked(ranges.which, found)
        return self._winning[earliest]


def highest(ranges: Ranges, rank: Ints, size: int) -> Ints:
    """The range of greatest rank that covers each of `size` places, as a row of ranges; -1 for none.

    Each range is laid on the few nodes of a binary tree over the places that make it up; then every node hands down.

    Args:
        ranges: What covers what.
        rank: The rank of each range, at least 1.
        size: How many places there are.
    """
    leaves = 1 << max(size - 1, 0).bit_length()
    top = np.zeros(2 * leaves, dtype=np.int64)
    tagged = (rank << len(rank).bit_length()) | np.arange(len(rank))
    low, high = ranges.low + leaves, ranges.high + leaves
    while len(low):
        odd = (low & 1).astype(np.bool_)
        np.maximum.at(top, low[odd], tagged[odd])
        low = (low + 1) >> 1
        odd = (high & 1).astype(np.bool_)
        np.maximum.at(top, high[odd] - 1, tagged[odd])
        high >>= 1
        open_still = low < high
        low, high, tagged = low[open_still], high[open_still], tagged[open_still]
    level = 1
    while level < leaves:
        handed = np.repeat(top[level : 2 * level], 2)
        np.maximum(top[2 * level : 4 * level], handed, out=top[2 * level : 4 * level])
        level *= 2
    found = top[leaves : leaves + size]
    return np.where(found > 0, found & ((1 << len(rank).bit_length()) - 1), -1)


def _picked(which: Ints, found: Ints) -> Ints:
    return np.where(found < 0, -1, which[found]) if len(which) else np.full(len(found), -1, dtype=np.int64)


def _rank_in_time(known: Contributions, read: Columns) -> Ints:
    """The place of each contribution in the order of (occurred_at, version order, activity id)."""
    event, processed = (times[known.newest] for times in read.times)
    by_id = (known.activity, processed, event, known.occurred_at)
    order = np.lexsort(by_id)
    is_tied = ~is_new(*(column[order] for column in by_id[1:]))
    if is_tied.any():
        tied = order[is_tied | np.append(is_tied[1:], False)]
        position = np.zeros(len(known), dtype=np.int64)
        position[tied] = read.positions(known.newest[tied])
        order = np.lexsort((known.activity, position, *by_id[1:]))
    rank = np.empty(len(known), dtype=np.int64)
    rank[order] = np.arange(len(known))
    return rank
