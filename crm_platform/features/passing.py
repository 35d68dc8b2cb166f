"""Answers from versions that pass by, entity after entity: a portion is looked at while the next one is being read.

Nothing is walked: of an entity's versions in their order, the last one known by a moment is looked up (`last_known`), once for
all fields of full images, once per field otherwise. Where versions do not stand in the order of entities, or a view asks since
when a value has held, or looks at activities, everything has to be there at once: that is `lookups`' business.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from crm_platform.features.axes import Runs
from crm_platform.features.entities import is_merged_away
from crm_platform.features.portions import Inputs
from crm_platform.features.searches import Questions
from crm_platform.features.streams import DisorderError, side_by_side
from crm_platform.features.views import FeatureView
from crm_platform.history.codes import ABSENT, Codes, Flags, Ints, positions
from crm_platform.history.links import Roots, roots_of
from crm_platform.history.registers import TIMES, checked, known_times, version_rows, writers_of
from crm_platform.history.walks import FOREVER, last_known

PORTION = 250_000
"""How many versions are walked at once, at least; an entity with more of them is walked alone."""

Answers = tuple[pl.DataFrame, Ints]
"""is_deleted and the features, and the place of the question that each row answers."""


def in_passing(view: FeatureView, inputs: Inputs, keys: pl.Series, moment: Ints) -> Answers | None:
    """The answers to questions about entities at moments (µs); None where versions cannot be looked at in portions.

    Raises:
        VersionsError: A column is missing, or no UTC time in microseconds.
    """
    versions, fields = inputs.versions, [one.columns[0] for one in view.attributes]
    if (
        versions is None
        or inputs.activities is not None
        or view.over_activities
        or any(one.since for one in view.attributes)
    ):
        return None
    needed = checked(versions, fields, "versions").collect_schema()
    there = versions.lazy().collect_schema().names()
    id_type = needed["entity_id"]
    roots = roots_of(inputs.merges, id_type)
    if {keys.dtype, roots.named["entity_id"].dtype} != {id_type}:
        return None
    asked = Questions.of(keys, moment, None)
    ids = asked.codes.ids
    merged = _merged(roots, asked)

    def answered(portion: tuple[pl.DataFrame, int, int]) -> pl.DataFrame:
        versions, low, high = portion
        rows = version_rows(versions, fields, "versions")
        here = slice(*np.searchsorted(asked.entity, [low, high]).tolist())
        entity, moment = asked.entity[here] - low, asked.moment[here]
        first, end = _runs(rows["entity_id"], Codes(ids[low:high]))
        by_then = Runs(rows["event_time"].to_physical().to_numpy(), first, end).last_by(entity, moment)
        known = known_times(rows)
        newest = last_known(known, by_then, first[entity], moment)
        dead = newest >= 0
        dead[dead] = rows["is_tombstone"].to_numpy()[newest[dead]]
        dead |= merged.away[here]
        named = (newest >= 0) | merged.named[here]
        told = [pl.select(pl.when(pl.Series(named)).then(pl.Series(dead)).alias("is_deleted")).to_series()]
        for written, writes in writers_of(rows, fields):
            shown = newest
            if not writes.all():
                shown = last_known(np.where(writes, known, FOREVER), by_then, first[entity], moment)
            told += rows.select(pl.col(written).gather(positions(np.where(dead, -1, shown)))).get_columns()
        return pl.DataFrame(told).select("is_deleted", *fields)

    try:
        return pl.concat(
            side_by_side(answered, _portions(versions.lazy().select(name for name in needed if name in there), ids))
        ), asked.places
    except DisorderError:
        return None


@dataclass(frozen=True)
class _Merged:
    """What merges say at each question: whether its entity was merged away, and whether a merge had named it."""

    away: Flags
    named: Flags


def _merged(roots: Roots, asked: Questions) -> _Merged:
    ids = asked.codes.ids.implode()
    pieces, named = (one.filter(pl.col("entity_id").is_in(ids)) for one in (roots.pieces, roots.named))
    first = np.full(len(asked.codes), FOREVER, dtype=np.int64)
    first[asked.codes.encode(named["entity_id"])] = named["known_at"].to_numpy()
    away = is_merged_away(asked.entity, asked.moment, asked.codes, pieces)
    return _Merged(away, first[asked.entity] <= asked.moment)


def _runs(ids: pl.Series, codes: Codes) -> tuple[Ints, Ints]:
    """Where the rows of each entity asked about begin and end, by code."""
    begins = np.flatnonzero(ids.ne_missing(ids.shift(1)).to_numpy() | (np.arange(len(ids)) == 0))
    code = codes.encode(ids.gather(pl.Series(begins)))
    asked = code != ABSENT
    first, end = np.zeros((2, max(len(codes), 1)), dtype=np.int64)
    first[code[asked]], end[code[asked]] = begins[asked], np.append(begins[1:], len(ids))[: len(begins)][asked]
    return first, end


def _portions(versions: pl.LazyFrame, ids: pl.Series) -> Iterator[tuple[pl.DataFrame, int, int]]:
    """Whole entities' versions, and between which of the ids asked about they lie: together these are all ids."""
    low, held = 0, versions.head(0).collect()
    for rows in _entities(versions):
        if held.height:
            high = int(ids.search_sorted(rows["entity_id"].head(1), side="left")[0])
            yield held, low, high
            low = high
        held = rows
    yield held, low, len(ids)


def _entities(versions: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The versions in portions that end where an entity does."""
    held: list[pl.DataFrame] = []
    count, enough, last = 0, PORTION, None
    for batch in versions.collect_batches(maintain_order=True):
        rows = batch.filter(pl.col("entity_id").is_not_null()) if batch["entity_id"].null_count() else batch
        if rows.is_empty():
            continue
        ids = rows["entity_id"]
        if (
            not ids.is_sorted()
            or (last is not None and ids[0] < last)
            or any(rows[name].null_count() for name in TIMES)
        ):
            raise DisorderError
        last = ids[-1]
        held.append(rows)
        count += rows.height
        if count >= enough:
            whole = pl.concat(held)
            end = int(whole["entity_id"].search_sorted(rows["entity_id"].tail(1), side="left")[0])
            if end:
                yield whole.head(end)
            held, count = [whole[end:]], whole.height - end
            enough = max(PORTION, 2 * count)
    if count:
        yield pl.concat(held)
