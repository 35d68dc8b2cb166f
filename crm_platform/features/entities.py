"""What is known of the entities themselves: since when, whether they are dead, and their attributes, step by step.

An entity is dead when it is known to be tombstoned or not its own root (DESIGN 3); the dead have no attributes. What
activities add to them is counted elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.axes import Axis, distinct_pairs
from crm_platform.features.views import Attribute
from crm_platform.history.codes import Codes, Flags, Ints, positions
from crm_platform.history.orders import is_new
from crm_platform.history.registers import BEGINNING, Steps
from crm_platform.history.walks import FOREVER


@dataclass(frozen=True)
class Closing:
    """What stood just before a window, so that nothing older need be looked at; arrays by the entities' codes.

    Attributes:
        since: Where the window begins (µs).
        stood: Whether the entity had a step before the window.
        changed_at: The last news of those (µs).
        held: By attribute, since when its value had held (µs), where it had one.
    """

    since: int
    stood: Flags
    changed_at: Ints
    held: dict[str, Ints]

    @classmethod
    def of(cls, rows: pl.DataFrame, codes: Codes, since: int, attributes: Sequence[Attribute]) -> "Closing":
        """Reads the closing rows of a timeline: entity_id, changed_at, and `{field}_since` where one is asked for."""
        code = codes.encode(rows["entity_id"])

        def spread(column: str) -> Ints:
            found = np.full(len(codes), since - 1, dtype=np.int64)
            found[code] = rows[column].to_physical().fill_null(since - 1).to_numpy()
            return found

        stood = np.zeros(len(codes), dtype=np.bool_)
        stood[code] = True
        held = {one.columns[0]: spread(one.columns[1]) for one in attributes if one.since}
        return cls(since, stood, spread("changed_at"), held)

    def news(self, entity: Ints, changed: Ints) -> Ints:
        """The last news of entities: what was found, or what stood before the window where that is older."""
        return np.where(changed < self.since, self.changed_at[entity], changed)


@dataclass(frozen=True)
class EntityStates:
    """The steps at which entities become known, die, revive, or change an attribute.

    Attributes:
        axis: One row per step; the first of an entity is its first step.
        values: Beside it: is_deleted, and since when attributes have held.
        rows: The entities' versions.
        winners: Beside the axis, by attribute, the version that it shows, as a row; -1 for none.
        closing: What stood before the window, where that is not to be found out from history.
    """

    axis: Axis
    values: pl.DataFrame
    rows: pl.DataFrame
    winners: dict[str, Ints]
    closing: Closing | None = None

    def of(self, low: int, high: int) -> tuple[Ints, Ints]:
        """The steps of a range of entities, which count from 0 there."""
        rows = slice(self.axis.offsets[low], self.axis.offsets[high])
        return self.axis.entity[rows] - low, self.axis.moment[rows]

    def at(self, entity: Ints, passed: Ints) -> pl.DataFrame:
        """The states of entities of whose steps, and those of all before them, so many have passed; nulls before the first."""
        step = np.where(passed > self.axis.offsets[entity], passed - 1, -1)
        told = self.values.select(pl.all().gather(positions(step)))
        return told.with_columns(_shown(self.rows, name, _of_steps(rows, step)) for name, rows in self.winners.items())

    def first_steps(self) -> Ints:
        """Each entity's first step (µs), by code; FOREVER for one that nothing names."""
        first = np.full(len(self.axis.offsets) - 1, FOREVER, dtype=np.int64)
        known = np.diff(self.axis.offsets) > 0
        first[known] = self.axis.moment[self.axis.offsets[:-1][known]]
        return first


def entity_states(
    codes: Codes,
    named: Ints,
    own: Steps | None,
    attributes: Sequence[Attribute],
    pieces: pl.DataFrame,
    *,
    closing: Closing | None = None,
    are_news: bool = True,
) -> EntityStates:
    """Walks the entities' own registers and their roots together.

    Args:
        codes: Numbers the entities.
        named: When anything first names each entity (µs), by code; FOREVER for never.
        own: The known-axis steps of the entities' own versions; None where a view has none: merges alone decide.
        attributes: The features to carry.
        pieces: The roots of merged entities: entity_id, since, until, root_id.
        closing: What stood before a window; then steps before it are one, just before it.
        are_news: Whether steps have to differ from the one before; otherwise some may not, and values need no look.
    """
    if closing is not None:
        named = np.where(closing.stood, closing.since - 1, named)
    roots = pieces.filter(pl.col("since") > BEGINNING)
    who = np.zeros(0, dtype=np.int64) if own is None else codes.encode(own.ids)[own.entity]
    since = who if own is None else own.since
    first = np.full(len(codes), FOREVER, dtype=np.int64)
    begins = is_new(who)
    first[who[begins]] = since[begins]
    earlier = np.flatnonzero(named < first)
    everyone = np.concatenate([who, earlier, codes.encode(roots["entity_id"])])
    always = np.concatenate([since, named[earlier], roots["since"].to_numpy()])
    if closing is not None:
        always = np.maximum(always, closing.since - 1)
    entity, moment = distinct_pairs(everyone, always)
    dead = is_merged_away(entity, moment, codes, pieces)
    winners: dict[str, Ints] = {}
    if own is not None:
        stands = len(entity) == len(who) and closing is None and not roots.height
        step = np.arange(len(who)) if stands else Axis(who, since, len(codes)).last_by(entity, moment)
        if len(own.entity):
            dead |= (step >= 0) & own.is_tombstone[step]
        alive = np.where(dead, -1, step)
        winners = {one.columns[0]: _of_steps(own.winners[one.columns[0]], alive) for one in attributes}
    rows = pl.DataFrame() if own is None else own.rows.select(list(winners))
    everything = EntityStates(
        Axis(entity, moment, len(codes)), pl.DataFrame({"is_deleted": dead}), rows, winners, closing
    )
    return _changes(everything, attributes, are_news=are_news)


def is_merged_away(entity: Ints, moment: Ints, codes: Codes, pieces: pl.DataFrame) -> Flags:
    """Whether entities are not their own root at moments (µs).

    Args:
        entity: Their codes.
        moment: The moments.
        codes: Numbers the entities, all of `pieces` among them; a root may be unknown.
        pieces: The roots of merged entities: entity_id, since, until, root_id.
    """
    if pieces.is_empty():
        return np.zeros(len(entity), dtype=np.bool_)
    sorted_pieces = pieces.sort("entity_id", "since")
    loser = codes.encode(sorted_pieces["entity_id"])
    root = codes.encode(sorted_pieces["root_id"])
    piece = Axis(loser, sorted_pieces["since"].to_numpy(), len(codes)).last_by(entity, moment)
    return (piece >= 0) & (root[piece] != entity)


def _of_steps(winners: Ints, steps: Ints) -> Ints:
    """The rows shown at steps; -1 at step -1."""
    return np.where(steps < 0, -1, winners[steps]) if len(winners) else np.full(len(steps), -1, dtype=np.int64)


def _shown(rows: pl.DataFrame, column: str, winners: Ints) -> pl.Series:
    """What a field shows where rows win; null at -1."""
    if rows.is_empty():
        return pl.Series(column, [None] * len(winners), rows.schema[column])
    return rows[column].gather(positions(winners))


def _changes(states: EntityStates, attributes: Sequence[Attribute], *, are_news: bool) -> EntityStates:
    """Says since when each value has held, and keeps the steps that differ from the one before, if they have to."""
    entity, moment, closing = states.axis.entity, states.axis.moment, states.closing
    dated = [one.columns[0] for one in attributes if one.since]
    columns = {
        name: _shown(states.rows, name, states.winners[name]) for name in (states.winners if are_news else dated)
    }
    first = is_new(entity)
    differs = {name: first | one.ne_missing(one.shift(1)).to_numpy() for name, one in columns.items()}
    values = [states.values["is_deleted"]]
    for name in dated:
        held = np.maximum.accumulate(np.where(differs[name], np.arange(len(entity)), 0))
        from_then = moment if closing is None else np.where(moment < closing.since, closing.held[name][entity], moment)
        since = pl.Series(f"{name}_since", from_then[held]).cast(UTC_US)
        values.append(pl.select(pl.when(columns[name].is_not_null()).then(since).alias(since.name)).to_series())
    told = pl.DataFrame(values)
    if not are_news:
        return replace(states, values=told)
    kept = np.logical_or.reduce([is_new(entity, told["is_deleted"].to_numpy()), *differs.values()])
    winners = {name: rows[kept] for name, rows in states.winners.items()}
    axis = Axis(entity[kept], moment[kept], len(states.axis.offsets) - 1)
    return replace(states, axis=axis, values=told.filter(pl.Series(kept)), winners=winners)
