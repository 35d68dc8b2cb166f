"""Places on a sorted (entity, moment) axis, found for millions at a time.

Integers in, integers out: entities are codes, moments are µs since 1970. What lies on an axis is its maker's business.
"""

import numpy as np

from crm_platform.history.codes import Ints
from crm_platform.history.orders import fit, in_order, is_new, order_by

FEW = 10_000
"""So many are looked up as they stand; more of them entity by entity, which the processor's cache thanks for."""


class Axis:
    """Rows sorted by (entity, moment); finds the row of any other entity and moment by bisection.

    Where entity and moment fit into one 64-bit key together, one search over keys; otherwise one inside each entity.
    """

    def __init__(self, entity: Ints, moment: Ints, entities: int) -> None:
        """Takes the rows of `entities` entities, coded from 0 on."""
        self.entity, self.moment = entity, moment
        self.offsets = np.searchsorted(entity, np.arange(entities + 1)).astype(np.int64)
        self._base = int(moment.min()) if len(moment) else 0
        self._last = int(moment.max()) if len(moment) else 0
        self._bits = (self._last - self._base + 2).bit_length()
        self._keys = self._packed(entity, moment) if fit(self._bits, entities.bit_length()) else None

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.entity)

    def first_at(self, entity: Ints, moment: Ints) -> Ints:
        """The first row of the entity at or after the moment; the next entity's first row where there is none."""
        clipped = np.clip(moment, self._base, self._last + 1)
        if self._keys is None:
            return self._bisected(entity, clipped)
        asked = self._packed(entity, clipped)
        if len(asked) < FEW or not (entity[1:] < entity[:-1]).any():
            return np.searchsorted(self._keys, asked).astype(np.int64, copy=False)
        order = np.argsort(asked)
        found = np.empty(len(asked), dtype=np.int64)
        found[order] = np.searchsorted(self._keys, asked[order])
        return found

    def last_by(self, entity: Ints, moment: Ints) -> Ints:
        """The last row of the entity at or before the moment; -1 where there is none."""
        after = self.upto(entity, moment)
        return np.where(after > self.offsets[entity], after - 1, -1)

    def upto(self, entity: Ints, moment: Ints) -> Ints:
        """How many rows lie at or before the moment, those of earlier entities among them."""
        return self.first_at(entity, np.minimum(moment, self._last) + 1)

    def _packed(self, entity: Ints, moment: Ints) -> Ints:
        return (entity << self._bits) | (moment - self._base)

    def _bisected(self, entity: Ints, moment: Ints) -> Ints:
        return _bisected(self.moment, self.offsets[entity], self.offsets[entity + 1], moment)


class Runs:
    """Rows that stand in one run per entity, each sorted by moment: found by bisection, with nothing held per row."""

    def __init__(self, moment: Ints, first: Ints, end: Ints) -> None:
        """Takes the moments of all rows, and by entity where its run begins and ends; a row of no run may be there."""
        self.moment, self.first, self.end = moment, first, end

    def last_by(self, entity: Ints, moment: Ints) -> Ints:
        """The last row of the entity at or before the moment; -1 where there is none."""
        first = self.first[entity]
        after = _bisected(self.moment, first, self.end[entity], np.minimum(moment, np.iinfo(np.int64).max - 1) + 1)
        return np.where(after > first, after - 1, -1)


def _bisected(moments: Ints, low: Ints, high: Ints, moment: Ints) -> Ints:
    """The first of the rows [low, high) whose moment is not before the one asked for; high where there is none."""
    while (low < high).any():
        middle = (low + high) >> 1
        before = (low < high) & (moments[np.minimum(middle, len(moments) - 1)] < moment)
        high = np.where((low < high) & ~before, middle, high)
        low = np.where(before, middle + 1, low)
    return low


def distinct_pairs(entity: Ints, moment: Ints) -> tuple[Ints, Ints]:
    """The distinct (entity, moment) pairs, sorted."""
    if not len(entity):
        return entity, moment
    base = int(moment.min())
    bits = (int(moment.max()) - base + 1).bit_length()
    if fit(bits, int(entity.max()).bit_length()):
        keys = (entity << bits) | (moment - base)
        keys = in_order(keys)
        keys = keys[is_new(keys)]
        return keys >> bits, (keys & ((1 << bits) - 1)) + base
    order = order_by(entity, moment)
    if order is not None:
        entity, moment = entity[order], moment[order]
    kept = is_new(entity, moment)
    return entity[kept], moment[kept]
