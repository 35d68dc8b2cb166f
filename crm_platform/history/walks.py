"""The walk of DESIGN 2 in numbers: from when until when which row wins each register.

Rows come sorted by entity and version order. What rows and registers mean stands in `registers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crm_platform.history.codes import Flags, Ints
from crm_platform.history.orders import is_new, order_by

FOREVER = np.iinfo(np.int64).max
"""The end of what never ends, and no moment that anybody can ask about."""

Writers = Sequence[tuple[Sequence[str], Flags]]
"""Which rows write which fields, fields alike together."""


@dataclass(frozen=True)
class Walk:
    """Steps of many entities, sorted by (entity, since): arrays with one item per step.

    Attributes:
        entity: Whose step.
        since: From when on (µs), inclusive.
        until: Until when, exclusive; FOREVER for the last step.
        newest: The greatest row known.
        winners: Per field, the row whose write it shows; -1 where none has written it. Fields alike share an array.
    """

    entity: Ints
    since: Ints
    until: Ints
    newest: Ints
    winners: dict[str, Ints]


def walked(entity: Ints, known: Ints, writers: Writers) -> Walk:
    """Walks by the moment at which rows became known (µs), keeping the running maximum in version order per register."""
    order = order_by(entity, known)
    at = known if order is None else known[order]
    walk = np.arange(len(entity), dtype=np.int64) if order is None else order
    ends = np.append((entity[1:] != entity[:-1]) | (at[1:] != at[:-1]), [True] if len(at) else []).astype(np.bool_)
    begins = is_new(entity)
    floor = np.flatnonzero(begins)[np.cumsum(begins)[ends] - 1]
    newest = np.maximum.accumulate(walk)[ends] if len(walk) else walk
    winners: dict[str, Ints] = {}
    for fields, writes in writers:
        running = newest
        if not writes.all():
            running = np.maximum.accumulate(np.where(writes[walk], walk, -1))[ends]
            running[running < floor] = -1
        winners |= dict.fromkeys(fields, running)
    return _collapsed(Walk(entity[ends], at[ends], at, newest, winners))


def alone(entity: Ints, known: Ints, rows: Ints, writers: Writers) -> Walk:
    """The steps of entities with a single row each: nothing is ever replaced, and a step is a row."""
    winners: dict[str, Ints] = {}
    for fields, writes in writers:
        winners |= dict.fromkeys(fields, rows if writes.all() else np.where(writes, rows, -1))
    return Walk(entity, known, np.broadcast_to(np.int64(FOREVER), len(rows)), rows, winners)


def by_entity(entity: Ints, known: Ints, writers: Writers) -> Walk:
    """The same walk, spared to the rows that are the only one of their entity, where these are most of them."""
    new = is_new(entity)
    is_only = new & np.append(new[1:], True)[: len(new)]
    many, few = np.flatnonzero(~is_only), np.flatnonzero(is_only)
    if 2 * len(many) > len(entity):
        return walked(entity, known, writers)
    walk = walked(entity[many], known[many], [(fields, writes[many]) for fields, writes in writers])
    is_walked = np.zeros(len(few) + len(walk.entity), dtype=np.bool_)
    is_walked[np.searchsorted(few, many[walk.newest]) + np.arange(len(walk.entity))] = True
    newest = np.empty(len(is_walked), dtype=np.int64)
    newest[is_walked], newest[~is_walked] = many[walk.newest], few
    since, until = known[newest], np.full(len(newest), FOREVER, dtype=np.int64)
    since[is_walked], until[is_walked] = walk.since, walk.until
    winners: dict[str, Ints] = {}
    for fields, writes in writers:
        shown = newest
        if not writes.all():
            shown = np.where(writes[newest], newest, -1)
            among = walk.winners[fields[0]]
            shown[is_walked] = np.where(among < 0, -1, many[among])
        winners |= dict.fromkeys(fields, shown)
    return Walk(entity[newest], since, until, newest, winners)


def last_known(known: Ints, row: Ints, first: Ints, moment: Ints) -> Ints:
    """The last row, from `first` on and up to `row`, that was known by a moment; -1 where there is none: no walk is needed.

    Most rows were known in their order. For those that were not, least times over blocks of 2, 4, 8, … rows tell how far
    back to go: as many looks as there are binary digits, however late things came.

    Args:
        known: When each row became known (µs); FOREVER for never.
        row: Where to begin, by question; before `first` where there is nothing.
        first: The first row that counts, by question.
        moment: What must have been known by then (µs).
    """
    found = np.where(row < first, -1, row)
    late = np.flatnonzero(found >= 0)
    late = late[known[found[late]] > moment[late]]
    if not len(late):
        return found
    least = [known]
    while len(least[-1]) > 1:
        below = least[-1] if len(least[-1]) % 2 == 0 else np.append(least[-1], FOREVER)
        least.append(np.minimum(below[::2], below[1::2]))
    wanted, end = moment[late], found[late]
    block, height = np.zeros(len(late), dtype=np.int64), np.full(len(late), -1)
    climbing = np.arange(len(late))
    for level, times in enumerate(least):
        odd = climbing[end[climbing] & 1 == 1]
        end[odd] -= 1
        holds = odd[times[end[odd]] <= wanted[odd]]
        block[holds], height[holds] = end[holds], level
        climbing = climbing[height[climbing] < 0]
        end[climbing] >>= 1
    for level in range(len(least) - 1, 0, -1):
        here = np.flatnonzero(height >= level)
        right = 2 * block[here] + 1
        times = least[level - 1]
        later = (right < len(times)) & (times[np.minimum(right, len(times) - 1)] <= wanted[here])
        block[here] = np.where(later, right, right - 1)
    found[late] = np.where((height >= 0) & (block >= first[late]), block, -1)
    return found


def _collapsed(walk: Walk) -> Walk:
    """Leaves out the steps at which no register shows another row, and says until when the others last."""
    arrays = {id(array): array for array in (walk.newest, *walk.winners.values())}
    moves = is_new(walk.entity, *arrays.values())
    is_whole = bool(moves.all())
    entity, since = (walk.entity, walk.since) if is_whole else (walk.entity[moves], walk.since[moves])
    kept = arrays if is_whole else {key: array[moves] for key, array in arrays.items()}
    until = np.full(len(entity), FOREVER, dtype=np.int64)
    until[:-1] = np.where(entity[1:] == entity[:-1], since[1:], FOREVER)
    winners = {field: kept[id(array)] for field, array in walk.winners.items()}
    return Walk(entity, since, until, kept[id(walk.newest)], winners)
