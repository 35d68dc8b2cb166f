"""Places on a sorted (entity, moment) axis, found for millions at a time.

Integers in, integers out: entities are codes, moments are µs since 1970. What lies on an axis is its maker's business.
"""

import numpy as np

from crm_platform.history.codes import Flags, Ints

KEY_BITS = 63
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
        low, high = self.offsets[entity], self.offsets[entity + 1]
        while (low < high).any():
            middle = (low + high) >> 1
            before = (low < high) & (self.moment[np.minimum(middle, len(self.moment) - 1)] < moment)
            high = np.where((low < high) & ~before, middle, high)
            low = np.where(before, middle + 1, low)
        return low


def fit(*bits: int) -> bool:
    """Whether numbers of so many bits fit into one 64-bit key together."""
    return sum(bits) <= KEY_BITS


def distinct_pairs(entity: Ints, moment: Ints) -> tuple[Ints, Ints]:
    """The distinct (entity, moment) pairs, sorted."""
    if not len(entity):
        return entity, moment
    base = int(moment.min())
    bits = (int(moment.max()) - base + 1).bit_length()
    if fit(bits, int(entity.max()).bit_length()):
        keys = (entity << bits) | (moment - base)
        keys.sort()
        keys = keys[is_new(keys)]
        return keys >> bits, (keys & ((1 << bits) - 1)) + base
    order = np.lexsort((moment, entity))
    entity, moment = entity[order], moment[order]
    kept = is_new(entity, moment)
    return entity[kept], moment[kept]


def grouped(values: Ints) -> tuple[Ints, Ints]:
    """Values (none negative) in their order, and the row of each, equal ones as they stood.

    Sorting values with their row in the lower bits is several times as fast as sorting rows by their values.
    """
    bits = len(values).bit_length()
    if len(values) and not fit(bits, int(values.max()).bit_length()):
        order = np.argsort(values, kind="stable")
        return values[order], order
    tagged = values << bits
    tagged |= np.arange(len(values))
    tagged.sort()
    order = tagged & ((1 << bits) - 1)
    tagged >>= bits
    return tagged, order


def order_by(entity: Ints, moment: Ints) -> Ints | None:
    """The order by (entity, moment), equal ones as they stood; None where rows stand in it already.

    What decides is sorted in one 64-bit number with the row below it, its lowest bits cut off where there is no room; the
    few that this leaves in doubt are sorted again.
    """
    if not ((entity[1:] < entity[:-1]) | ((entity[1:] == entity[:-1]) & (moment[1:] < moment[:-1]))).any():
        return None
    base = int(moment.min())
    rows, span = len(entity).bit_length(), (int(moment.max()) - base).bit_length()
    cut = max(int(entity.max()).bit_length() + span + rows - KEY_BITS, 0)
    if cut > span:
        return np.lexsort((moment, entity))
    tagged = ((entity << (span - cut)) | ((moment - base) >> cut)) << rows | np.arange(len(entity))
    tagged.sort()
    order = tagged & ((1 << rows) - 1)
    if cut:
        tagged >>= rows
        tied = ~is_new(tagged)
        doubtful = np.flatnonzero(tied | np.append(tied[1:], False))
        mended = np.lexsort((moment[order[doubtful]], tagged[doubtful]))
        order[doubtful] = order[doubtful[mended]]
    return order


def is_new(*columns: Ints) -> Flags:
    """Whether a row differs from the one before in any column; the first does."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    if len(new):
        new[1:] = False
        for column in columns:
            new[1:] |= column[1:] != column[:-1]
    return new
