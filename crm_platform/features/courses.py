"""Contributions in the order in which they begin, the order in which they end, and how many have done so at any moment.

Whatever is linear (counts, sums, values in use) is what has begun less what has ended, so that a running total over each
order answers for any moment: nothing is joined, and nothing sorted but times. What is totalled stands in `windows`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from crm_platform.features.axes import Axis, distinct_pairs
from crm_platform.features.segments import Contributions
from crm_platform.history.codes import Flags, Ints
from crm_platform.history.orders import fit, in_order, is_new, order_by
from crm_platform.history.walks import FOREVER

Pairs = tuple[Ints, Ints]
"""Entities and moments side by side."""


@dataclass(frozen=True)
class Ending:
    """How contributions end in one window.

    Attributes:
        counts: Which count at all, in the order of starts; None for all.
        order: Those that count and end some time, in the order of their ends; None for all as they begin.
        entity: Whose end each is, in that order.
        moment: When it ends (µs).
    """

    counts: Flags | None
    order: Ints | None
    entity: Ints
    moment: Ints

    @property
    def is_sure(self) -> bool:
        """Whether everything that counts ends some time."""
        begun = None if self.counts is None else int(self.counts.sum())
        return self.order is None or len(self.order) == begun


@dataclass(frozen=True)
class Course:
    """Contributions in the order of (entity, start).

    Attributes:
        known: The contributions.
        starts: From when on each can count (µs).
        entities: Of how many entities they are, coded from 0.
    """

    known: Contributions
    starts: Ints
    entities: int
    _endings: dict[int | None, Ending] = field(default_factory=dict[int | None, Ending])

    @classmethod
    def of(cls, known: Contributions, entities: int) -> "Course":
        """Puts contributions in order."""
        starts = known.starts()
        order = order_by(known.entity, starts)
        return cls(known, starts, entities) if order is None else cls(known.taken(order), starts[order], entities)

    def __len__(self) -> int:
        """How many contributions there are."""
        return len(self.starts)

    def ending(self, span: int | None) -> Ending:
        """How they end in a window of that length (µs; None for all time)."""
        if span not in self._endings:
            ends = self.known.ends(span)
            counts = self.starts < ends
            ending = counts & (ends < FOREVER)
            which = None if ending.all() else np.flatnonzero(ending)
            entity, moment = self.known.entity, ends
            if which is not None:
                entity, moment = entity[which], moment[which]
            order = order_by(entity, moment)
            if order is not None:
                entity, moment = entity[order], moment[order]
                which = order if which is None else which[order]
            self._endings[span] = Ending(None if counts.all() else counts, which, entity, moment)
        return self._endings[span]


@dataclass(frozen=True)
class Places:
    """Moments asked about, sorted by (entity, moment), and what has happened by then.

    Attributes:
        axis: The moments.
        passed: Per series of happenings, how many lie at or before each moment, all of earlier entities included.
    """

    axis: Axis
    passed: Sequence[Ints]

    @classmethod
    def at(cls, axis: Axis, happenings: Sequence[Pairs]) -> "Places":
        """Looks up some moments."""
        entities = len(axis.offsets) - 1
        return cls(axis, [Axis(*pairs, entities).upto(axis.entity, axis.moment) for pairs in happenings])

    @classmethod
    def of_all(cls, happenings: Sequence[Pairs], entities: int) -> "Places":
        """All moments at which anything happens: one sort tells both when, and how many by then.

        Args:
            happenings: Series of entities and moments, each sorted.
            entities: Of how many entities, coded from 0.
        """
        ends = [(int(moment.min()), int(moment.max())) for _, moment in happenings if len(moment)]
        least, most = min((low for low, _ in ends), default=0), max((high for _, high in ends), default=0)
        time, series = (most - least).bit_length(), len(happenings).bit_length()
        if not fit(entities.bit_length(), time, series):
            entity, moment = (np.concatenate(side) for side in zip(*happenings, strict=True))
            return cls.at(Axis(*distinct_pairs(entity, moment), entities), happenings)
        keys = np.concatenate(
            [
                ((entity << time | (moment - least)) << series) | number
                for number, (entity, moment) in enumerate(happenings)
            ]
        )
        keys = in_order(keys)
        numbers = (keys & ((1 << series) - 1)).astype(np.int8)
        keys >>= series
        passed = [np.cumsum(numbers == number) for number in range(len(happenings))]
        last = np.append(is_new(keys)[1:], True) if len(keys) else np.zeros(0, dtype=np.bool_)
        if not last.all():
            keys, passed = keys[last], [count[last] for count in passed]
        return cls(Axis(keys >> time, (keys & ((1 << time) - 1)) + least, entities), passed)
