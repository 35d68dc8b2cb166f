"""Features over activities at many moments at once, whatever order was recorded, retracted or merged in.

Counts and sums are running totals over what has begun, less those over what has ended; distinct values are the same over
the stretches in which each value is in use; the first, the last and extremes are the greatest rank among the ranges that
cover a moment (`ranks`). Nothing is joined with anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.axes import Axis
from crm_platform.features.columns import Columns, at_rows
from crm_platform.features.courses import Course
from crm_platform.features.ranks import Ranges, highest, picked, rank_in_time
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
from crm_platform.history.orders import is_new, order_by
from crm_platform.history.walks import FOREVER

MICROSECOND = timedelta(microseconds=1)


def micros(span: timedelta | None) -> int | None:
    """A stretch of time in µs."""
    return None if span is None else span // MICROSECOND


def spans_of(view: FeatureView) -> list[int | None]:
    """The windows that a view looks at (µs; None for all time), each once."""
    spans = [micros(one.span) if isinstance(one, Windowed) else None for one in view.over_activities]
    return list(dict.fromkeys(spans))


@dataclass
class Windows:
    """The features of contributions at the places of an axis; what two features share is computed once.

    Attributes:
        course: The contributions, all of entities on the places' axis.
        axis: The moments asked about.
        begun: How many contributions have begun at or before each, those of earlier entities included.
        ended: By window (µs; None for all time), how many have ended.
        read: The activities' columns.
    """

    course: Course
    axis: Axis
    begun: Ints
    ended: dict[int | None, Ints]
    read: Columns
    _read: dict[tuple[int, str], Ints] = field(default_factory=dict[tuple[int, str], Ints])
    _totals: dict[int, tuple[Ints, Ints]] = field(default_factory=dict[int, tuple[Ints, Ints]])
    _by_value: dict[str, tuple[Ints, Ints]] = field(default_factory=dict[str, tuple[Ints, Ints]])
    _ranges: dict[int | None, Ranges] = field(default_factory=dict[int | None, Ranges])
    _timely: Ints | None = None
    _winning: dict[bool, Ints] = field(default_factory=dict[bool, Ints])

    def columns(self, view: FeatureView) -> dict[str, pl.Series]:
        """All features over activities, by name; one value per place."""
        found: dict[str, pl.Series] = {}
        for feature in view.over_activities:
            found |= self._feature(feature)
        return found

    def _feature(self, feature: Feature) -> dict[str, pl.Series]:
        name = feature.columns[0] if feature.columns else ""
        if isinstance(feature, Count):
            return {name: pl.Series(self._count(micros(feature.span)))}
        if isinstance(feature, Sum):
            return self._sums(feature)
        if isinstance(feature, Mean | Std):
            return {name: self._moments(feature)}
        if isinstance(feature, Distinct):
            return {name: pl.Series(self._distinct(feature))}
        if isinstance(feature, Min | Max):
            return {name: self._extreme(feature)}
        chosen = self._by_time(earliest=isinstance(feature, First))
        moments = pl.Series(self.course.known.occurred_at)
        shows = isinstance(feature, First | Last)
        return {
            name: self._shown(str(feature.column), chosen) if shows else moments.gather(positions(chosen)).cast(UTC_US)
        }

    def _count(self, span: int | None) -> Ints:
        """How many contributions count."""
        ending = self.course.ending(span)
        if ending.counts is None and ending.is_sure:
            return self.begun - self.ended[span]
        return self._linear(np.ones(len(self.course), dtype=np.int64), span)

    def _linear(self, values: Ints, span: int | None) -> Ints:
        """The sum of some values, one per contribution, over those that count."""
        ending = self.course.ending(span)
        if ending.counts is None:
            begun = self._running(values)
        else:
            values = values * ending.counts
            begun = running(values)
        ended = begun if ending.order is None else running(values[ending.order])
        return self._balance(begun, ended, span, is_sure=ending.is_sure)

    def _balance(self, begun: Ints, ended: Ints, span: int | None, *, is_sure: bool) -> Ints:
        """Running totals of what has begun less what has ended, at every place, of its entity alone."""
        found = np.take(begun, self.begun)
        found -= np.take(ended, self.ended[span])
        if is_sure:
            return found
        entities = np.arange(self.course.entities)
        before = begun[np.searchsorted(self.course.known.entity, entities)]
        before -= ended[np.searchsorted(self.course.ending(span).entity, entities)]
        found -= before[self.axis.entity]
        return found

    def _running(self, values: Ints) -> Ints:
        """The running total of values, computed once for all windows."""
        if id(values) not in self._totals:
            self._totals[id(values)] = values, running(values)
        return self._totals[id(values)][1]

    def _shown(self, column: str, chosen: Ints) -> pl.Series:
        """What a column shows in one contribution per place; null at -1."""
        winners = self.course.known.winners[column]
        return self.read.shown(column, np.where(chosen < 0, -1, winners[chosen]) if len(winners) else chosen)

    def _at(self, values: Sequence[Ints], column: str) -> list[Ints]:
        """Numbers of all versions, as each contribution shows them; read once for all windows."""
        for one in values:
            if (id(one), column) not in self._read:
                self._read[id(one), column] = at_rows(one, self.course.known.winners[column])
        return [self._read[id(one), column] for one in values]

    def _sums(self, feature: Sum) -> dict[str, pl.Series]:
        column, span = str(feature.column), micros(feature.span)
        amounts = self.read.amounts(column)
        limbs = self._at(amounts.limbs, column)
        if feature.currency is None:
            return {feature.columns[0]: amounts.total([self._linear(limb, span) for limb in limbs])}
        currency = self.read.shown(feature.currency, self.course.known.winners[feature.currency])
        found: dict[str, pl.Series] = {}
        for name, code in zip(feature.columns, feature.currencies, strict=True):
            chosen = (currency == code).fill_null(value=False).to_numpy()
            found[name] = amounts.total([self._linear(limb * chosen, span) for limb in limbs])
        return found

    def _moments(self, feature: Mean | Std) -> pl.Series:
        column, span = str(feature.column), micros(feature.span)
        amounts = self.read.amounts(column, squarable=isinstance(feature, Std))
        (given,) = self._at([amounts.given], column)
        counts = self._linear(given, span)
        sums = [self._linear(limb, span) for limb in self._at(amounts.limbs, column)]
        if isinstance(feature, Mean):
            return amounts.mean(sums, counts)
        squares = [self._linear(limb, span) for limb in self._at(amounts.squares, column)]
        return deviation(amounts, sums, squares, counts)

    def _codes_of(self, column: str) -> Ints:
        """A column's values as numbers in their own order; 0 for null."""
        return self._at([self.read.codes(column)], column)[0]

    def _values_in_order(self, column: str) -> tuple[Ints, Ints]:
        """The contributions with a value by (entity, value, start), and the number of each one's entity and value."""
        if column not in self._by_value:
            entity, codes = self.course.known.entity, self._codes_of(column)
            order = order_by(entity, codes)
            order = np.arange(len(codes)) if order is None else order
            order = order[codes[order] > 0]
            self._by_value[column] = order, np.cumsum(is_new(entity[order], codes[order]), dtype=np.int64)
        return self._by_value[column]

    def _distinct(self, feature: Distinct) -> Ints:
        """How many values are in use: the stretches of each, united where they touch, begun less ended."""
        span = micros(feature.span)
        ending = self.course.ending(span)
        order, group = self._values_in_order(str(feature.column))
        if ending.counts is not None:
            counts = ending.counts[order]
            order, group = order[counts], group[counts]
        place = _places_in(ending.order, len(self.course))
        ends = np.append(ending.moment, FOREVER)
        bits = len(self.course).bit_length() + 1
        reached = np.maximum.accumulate((group << bits) | place[order]) & ((1 << bits) - 1)
        begins = is_new(group)
        if len(group):
            begins[1:] |= self.course.starts[order[1:]] > ends[reached[:-1]]
        last = np.append(begins[1:], True) if len(begins) else begins
        comes = np.zeros(len(self.course), dtype=np.int64)
        comes[order[begins]] = 1
        goes = np.zeros(len(ending.moment), dtype=np.int64)
        ended = reached[last]
        goes[ended[ended < len(goes)]] = 1
        return self._balance(running(comes), running(goes), span, is_sure=ending.is_sure)

    def _in(self, span: int | None) -> Ranges:
        """The ranges of places over which contributions count, none of them empty."""
        if span not in self._ranges:
            ending = self.course.ending(span)
            low = np.searchsorted(self.begun, np.arange(len(self.course)), side="right")
            close = self.axis.offsets[self.course.known.entity + 1]
            gone = np.searchsorted(self.ended[span], np.arange(len(ending.moment)), side="right")
            high = close
            if ending.order is None:
                high = gone
            else:
                high[ending.order] = gone
            counts = low < high
            if ending.counts is not None:
                counts &= ending.counts
            which = np.flatnonzero(counts)
            self._ranges[span] = Ranges(which, low[which], high[which])
        return self._ranges[span]

    def _extreme(self, feature: Min | Max) -> pl.Series:
        codes = self._codes_of(str(feature.column))
        ranges = self._in(micros(feature.span)).where(codes > 0)
        rank = codes[ranges.which]
        if isinstance(feature, Min):
            rank = rank.max(initial=0) + 1 - rank
        found = highest(ranges, rank, len(self.axis))
        return self._shown(str(feature.column), picked(ranges.which, found))

    def _by_time(self, *, earliest: bool) -> Ints:
        """The contribution that is first or last at each place, of all time; -1 for none."""
        if earliest not in self._winning:
            if self._timely is None:
                self._timely = rank_in_time(self.course.known, self.read)
            ranges = self._in(None)
            rank = self._timely[ranges.which]
            found = highest(ranges, len(self.course) - rank if earliest else rank + 1, len(self.axis))
            self._winning[earliest] = picked(ranges.which, found)
        return self._winning[earliest]


def running(values: Ints | Flags) -> Ints:
    """The sum of the first n values, for every n from 0 on."""
    total = np.empty(len(values) + 1, dtype=np.int64)
    total[0] = 0
    np.cumsum(values, out=total[1:])
    return total


def _places_in(order: Ints | None, size: int) -> Ints:
    """The place of each of `size` rows in an order of some of them; after all of them where it is not among them."""
    if order is None:
        return np.arange(size)
    place = np.full(size, len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place
