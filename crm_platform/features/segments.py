"""State segments of activities, and for whom and how long each of them counts.

A segment is a stretch of the known axis on which an activity's registers are constant (DESIGN 3); while it is alive and
has a key and a business time, it contributes to the root of its key. Windows are applied elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from crm_platform.history.codes import Codes, Flags, Ints
from crm_platform.history.orders import grouped, is_new
from crm_platform.history.registers import TIMES, Steps, check_times, steps_of, writes_field
from crm_platform.history.walks import FOREVER


@dataclass(frozen=True)
class Contributions:
    """Stretches of activities for entities, sorted by (entity, activity, since); arrays run in parallel.

    Attributes:
        rows: The activities' versions.
        entity: To whom it contributes (a code).
        activity: Which activity, coded in the order of ids.
        since: From when on the state is known, inclusive (µs).
        until: Until when, exclusive (µs).
        occurred_at: The activity's business time (µs).
        newest: The greatest version known, as a row.
        winners: Per column read, the row that it shows; -1 for none.
    """

    rows: pl.DataFrame
    entity: Ints
    activity: Ints
    since: Ints
    until: Ints
    occurred_at: Ints
    newest: Ints
    winners: dict[str, Ints]

    def __len__(self) -> int:
        """How many stretches there are."""
        return len(self.entity)

    def values(self, column: str, where: Ints | None = None) -> pl.Series:
        """What a column shows in each stretch, or in some (-1 for none)."""
        winners = self.winners[column]
        if where is not None:
            winners = np.where(where < 0, -1, winners[where])
        picked = pl.Series(winners)
        return self.rows[column].gather(picked.set(picked < 0, None) if len(winners) and winners.min() < 0 else picked)

    def taken(self, order: Ints) -> "Contributions":
        """The same in another order."""
        arrays = {
            "entity": self.entity,
            "activity": self.activity,
            "since": self.since,
            "until": self.until,
            "occurred_at": self.occurred_at,
            "newest": self.newest,
            **{f"winner {name}": winners for name, winners in self.winners.items()},
        }
        moved = _each_once(arrays, order)
        winners = {name: moved.pop(f"winner {name}") for name in self.winners}
        return Contributions(self.rows, winners=winners, **moved)

    def starts(self) -> Ints:
        """From when on each can count: known, and taken place."""
        return np.maximum(self.since, self.occurred_at)

    def ends(self, span: int | None) -> Ints:
        """When each ceases to count in a window of that length (µs; None for all time)."""
        return self.until if span is None else np.minimum(self.until, self.occurred_at + span)


@dataclass(frozen=True)
class Pieces:
    """Rows among others that contribute from and until other moments than their step does (µs); `which` rises."""

    which: Ints
    since: Ints
    until: Ints

    def moved(self, order: Ints) -> "Pieces":
        """The same, after all rows were put in another order."""
        is_piece = np.zeros(len(order), dtype=np.bool_)
        is_piece[self.which] = True
        which = np.flatnonzero(is_piece[order])
        piece = np.searchsorted(self.which, order[which])
        return Pieces(which, self.since[piece], self.until[piece])


@dataclass(frozen=True)
class Segments:
    """All contributions, sorted by (entity, activity, since), as references to steps: little to keep, gathered when used.

    Attributes:
        steps: The activities' known-axis steps; None where a view has no activities.
        moment: The activity's business time at each step (µs).
        reads: The columns that features read.
        entity: To whom each contributes (a code).
        step: Which step it is.
        cut: Those of them that are pieces of steps, cut by merges; None for none.
    """

    steps: Steps | None
    moment: Ints
    reads: Sequence[str]
    entity: Ints
    step: Ints
    cut: Pieces | None = None

    @classmethod
    def none(cls) -> "Segments":
        """No activities at all."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(None, nothing, (), nothing, nothing)

    def holding(self, columns: Sequence[str]) -> "Segments":
        """The same, of whose versions only some columns are held."""
        return self if self.steps is None else replace(self, steps=self.steps.holding(columns))

    def of(self, low: int, high: int) -> Contributions:
        """The contributions to a range of entities, which count from 0 there."""
        first, last = np.searchsorted(self.entity, [low, high])
        here = slice(int(first), int(last))
        step = self.step[here]
        if self.steps is None:
            return Contributions(pl.DataFrame(), step, step, step, step, step, step, {})
        if self.steps.are_rows:
            taken = dict.fromkeys(["activity", "newest", *(f"winner {name}" for name in self.reads)], step)
        else:
            arrays = {
                "activity": self.steps.entity,
                "newest": self.steps.newest,
                **{f"winner {name}": self.steps.winners[name] for name in self.reads},
            }
            taken = _each_once(arrays, step)
        since, until = self.steps.since[step], self.steps.until[step]
        if self.cut:
            which = self.cut.which
            pieces = slice(*np.searchsorted(which, [first, last]))
            since[which[pieces] - first], until[which[pieces] - first] = self.cut.since[pieces], self.cut.until[pieces]
        return Contributions(
            rows=self.steps.rows,
            entity=self.entity[here] - low,
            activity=taken["activity"],
            since=since,
            until=until,
            occurred_at=self.moment[step],
            newest=taken["newest"],
            winners={name: taken[f"winner {name}"] for name in self.reads},
        )


def activity_steps(
    activities: pl.DataFrame | pl.LazyFrame, key: str, time: str, reads: Sequence[str], *, is_named: bool
) -> Steps:
    """Walks the registers of activities that a view needs; with their ids and positions, if somebody asks for them.

    Raises:
        VersionsError: A column is missing, or a time is none.
    """
    check_times(activities.lazy().collect_schema(), "activities", (*TIMES, time))
    return steps_of(activities, list(dict.fromkeys([key, time, *reads])), "activities", is_named=is_named)


def named_by(steps: Steps, key: str, owner: Ints, entities: int) -> Ints:
    """When each entity was first named by an activity (µs), by code; FOREVER for never.

    Args:
        steps: The activities' known-axis steps.
        key: The column that names the entity.
        owner: The codes of that column, one per row of the steps' versions, -1 for null.
        entities: How many entities there are.
    """
    names = steps.rows.select(writes_field(key)).to_series().to_numpy() & (owner >= 0)
    known = steps.known
    if not names.all():
        owner, known = owner[names], known[names]
    first = np.full(entities, FOREVER, dtype=np.int64)
    np.minimum.at(first, owner, known)
    return first


def segments_of(
    steps: Steps, owners: Ints, roots: pl.DataFrame, *, key: str, time: str, reads: Sequence[str]
) -> Segments:
    """Cuts the segments of activities where the root of their key changes.

    Args:
        steps: The activities' known-axis steps.
        owners: The codes of the key, one per row of the steps' versions.
        roots: The roots of merged entities, as codes: loser, from, to, root.
        key: The column that names the entity.
        time: The column with the business time.
        reads: The columns that features read.
    """
    occurred = steps.rows[time].to_physical().fill_null(FOREVER).to_numpy().astype(np.int64, copy=False)
    if steps.are_rows:
        owner, moment = owners, occurred
        counts = (owner >= 0) & (moment < FOREVER)
    else:
        owner = _gathered(owners, steps.winners[key], -1)
        moment = _gathered(occurred, steps.winners[time], FOREVER)
        counts = ~steps.is_tombstone & (owner >= 0) & (moment < FOREVER) & (moment < steps.until)
    segment = None if counts.all() else np.flatnonzero(counts)
    entity = owner if segment is None else owner[segment]
    if not roots.height:
        entity, order = grouped(entity)
        return Segments(steps, moment, reads, entity, order if segment is None else segment[order])
    if segment is None:
        segment = np.arange(len(entity))
    segment, entity, cut = _cut(segment, entity, steps, roots)
    entity, order = grouped(entity)
    return Segments(steps, moment, reads, entity, segment[order], cut.moved(order))


def news_of(known: Contributions, span: int | None) -> tuple[Ints, Ints]:
    """When the set of counting activities changes other than by expiry: entity and moment (µs), unsorted.

    Args:
        known: All contributions of some entities.
        span: The longest window (µs); None for all time.
    """
    starts, ends = known.starts(), known.ends(span)
    counts = starts < ends
    goes_on = counts & (known.since > known.occurred_at) & _same_as_before(known)
    begins = counts & ~goes_on
    expiry = np.full(len(known), FOREVER) if span is None else known.occurred_at + span
    followed = np.append(goes_on[1:], False) if len(known) else goes_on
    retracted = counts & (known.until < expiry) & ~followed
    entity = np.concatenate([known.entity[begins], known.entity[retracted]])
    return entity, np.concatenate([starts[begins], known.until[retracted]])


def _same_as_before(known: Contributions) -> Flags:
    """Whether a stretch goes on, for the same entity, with an activity of the same time and values as the one before."""
    same = ~is_new(known.entity, known.activity, known.occurred_at)
    if len(same):
        same[1:] &= known.until[:-1] == known.since[1:]
    for name, winners in known.winners.items():
        differ = np.flatnonzero(same & is_new(winners))
        if len(differ):
            same[differ] = known.values(name, differ).eq_missing(known.values(name, differ - 1)).to_numpy()
    return same


def _each_once(arrays: dict[str, Ints], where: Ints) -> dict[str, Ints]:
    """Some rows of arrays of which some may be the same; these share the result as well."""
    distinct = {id(array): array for array in arrays.values()}
    taken = {key: array[where] for key, array in distinct.items()}
    return {name: taken[id(array)] for name, array in arrays.items()}


def _gathered(values: Ints, winners: Ints, absent: int) -> Ints:
    if not len(values):
        return np.full(len(winners), absent, dtype=np.int64)
    return np.where(winners < 0, absent, values[winners])


def coded(pieces: pl.DataFrame, codes: Codes) -> pl.DataFrame:
    """The roots of merged entities (entity_id, since, until, root_id) as codes: loser, from, to, root."""
    return pieces.select(
        pl.Series("loser", codes.encode(pieces["entity_id"])),
        pl.col("since").alias("from"),
        pl.col("until").alias("to"),
        pl.Series("root", codes.encode(pieces["root_id"])),
    )


def _cut(segment: Ints, entity: Ints, steps: Steps, pieces: pl.DataFrame) -> tuple[Ints, Ints, Pieces]:
    """Replaces, in the order of steps, each stretch of a merged entity by one for every root it has meanwhile.

    Args:
        segment: The steps that contribute, rising.
        entity: To whom, before any merge.
        steps: All steps.
        pieces: The roots of merged entities, as codes: loser, from, to, root.
    """
    losers = pieces["loser"].to_numpy()
    is_loser = np.zeros(max(entity.max(initial=0), losers.max(initial=0)) + 1, dtype=np.bool_)
    is_loser[losers] = True
    merged = is_loser[entity]
    moved = segment[merged]
    of_losers = pl.DataFrame(
        {"segment": moved, "loser": entity[merged], "since": steps.since[moved], "until": steps.until[moved]}
    )
    cut = (
        of_losers.lazy()
        .join(pieces.lazy(), on="loser", how="inner")
        .with_columns(
            pl.max_horizontal("since", "from").alias("since"), pl.min_horizontal("until", "to").alias("until")
        )
        .filter(pl.col("since") < pl.col("until"))
        .sort("segment", "since")
        .collect()
    )
    whole = segment[~merged]
    at = np.searchsorted(whole, cut["segment"].to_numpy())
    which = at + np.arange(len(at))
    found = Pieces(which, cut["since"].to_numpy(), cut["until"].to_numpy())
    return (
        np.insert(whole, at, cut["segment"].to_numpy()),
        np.insert(entity[~merged], at, cut["root"].to_numpy()),
        found,
    )
