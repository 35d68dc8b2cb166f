"""The greatest of what covers a place: extremes, the first and the last, exact under retraction.

Ranges and ranks are numbers here; whose they are is the business of `windows`.
"""

from dataclasses import dataclass

import numpy as np

from crm_platform.features.columns import Columns
from crm_platform.features.segments import Contributions
from crm_platform.history.codes import Flags, Ints
from crm_platform.history.orders import is_new


@dataclass(frozen=True)
class Ranges:
    """Which contributions count over which places: rows `[low, high)` of the places' axis, none of them empty."""

    which: Ints
    low: Ints
    high: Ints

    def where(self, chosen: Flags) -> "Ranges":
        """Those of some contributions."""
        kept = chosen[self.which]
        return Ranges(self.which[kept], self.low[kept], self.high[kept])


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


def picked(which: Ints, found: Ints) -> Ints:
    """The contribution of each range found; -1 for none."""
    return np.where(found < 0, -1, which[found]) if len(which) else np.full(len(found), -1, dtype=np.int64)


def rank_in_time(known: Contributions, read: Columns) -> Ints:
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
