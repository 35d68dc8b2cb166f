"""The step in force at each of many moments: in a timeline that is held whole, or in one that passes by in batches.

A timeline sorted by entity and time, as it is stored, is read once and never held: of every batch only the steps that
answer a question are kept, so that many features cost no memory. Any other timeline is held and sorted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from crm_platform.features.axes import Axis, Runs
from crm_platform.features.streams import DisorderError, side_by_side
from crm_platform.history.codes import Codes, Flags, Ints, positions
from crm_platform.history.orders import is_rising, order_by
from crm_platform.history.registers import BEGINNING


@dataclass(frozen=True)
class Questions:
    """Entities and moments that are asked about, sorted by both.

    Attributes:
        codes: The entities asked about.
        entity: The code of each question's.
        moment: The moment of each.
        oldest: The oldest news that still counts, of each; None for any.
        places: Where each stood before it was sorted; those about nobody are left out.
    """

    codes: Codes
    entity: Ints
    moment: Ints
    oldest: Ints | None
    places: Ints

    @classmethod
    def of(cls, keys: pl.Series, moment: Ints, oldest: Ints | None) -> "Questions":
        """Sorts questions about entities (null: nobody) at moments."""
        asked = pl.LazyFrame({"key": keys, "moment": moment, "place": np.arange(len(keys))}).drop_nulls("key")
        rows = asked.sort("key", "moment").collect(engine="streaming")
        begins = (rows["key"] != rows["key"].shift(1)).fill_null(value=True)
        entity = np.cumsum(begins.to_numpy(), dtype=np.int64) - 1
        places = rows["place"].to_numpy()
        ids = Codes(rows["key"].filter(begins))
        return cls(ids, entity, rows["moment"].to_numpy(), None if oldest is None else oldest[places], places)

    def too_old(self, steps: pl.DataFrame, rows: Ints, questions: Ints | slice = slice(None)) -> Flags | None:
        """Which of the steps found are older than their questions allow; None where none can be."""
        if self.oldest is None:
            return None
        news = steps["changed_at" if "changed_at" in steps.columns else "known_at"]
        return news.to_physical().fill_null(BEGINNING).to_numpy()[rows] < self.oldest[questions]


Found = tuple[pl.DataFrame, Ints]
"""Steps, and for each question the row of its one among them, or -1."""


def in_passing(timeline: pl.LazyFrame, asked: Questions, columns: Sequence[str]) -> Found | None:
    """The steps in force, of a timeline that is sorted by entity and time; None where it is not.

    Args:
        timeline: The steps: entity_id, known_at, and changed_at where it has that and age counts.
        asked: The questions.
        columns: The columns that are asked for.
    """
    kept = [timeline.select(columns).collect_schema().to_frame()]
    place, count, before = np.full(len(asked.entity), -1, dtype=np.int64), 0, (-1, BEGINNING)
    batches = timeline.collect_batches(maintain_order=True)
    try:
        for passed in side_by_side(lambda batch: _passed(batch, asked, columns), batches):
            if passed is None:
                continue
            if passed.first < before:
                return None
            before = passed.last
            place[passed.questions] = np.where(passed.too_old, -1, count + np.arange(len(passed.questions)))
            kept.append(passed.steps)
            count += passed.steps.height
    except DisorderError:
        return None
    return pl.concat(kept), place


@dataclass(frozen=True)
class _Passed:
    """What a batch of steps answers.

    Attributes:
        first: The entity and the moment of its first step of anybody asked about.
        last: Those of its last one.
        questions: The questions that it answers, unless a later batch does.
        steps: The step for each of them.
        too_old: Whether each of these is older than its question allows.
    """

    first: tuple[int, int]
    last: tuple[int, int]
    questions: Ints
    steps: pl.DataFrame
    too_old: Flags | bool


def _passed(batch: pl.DataFrame, asked: Questions, columns: Sequence[str]) -> _Passed | None:
    """What a batch of steps answers; None where nobody asks about any of its entities.

    Raises:
        DisorderError: Its steps are in no order.
    """
    steps = _timed(batch)
    runs, named = _Standing.of(steps, asked.codes).runs()
    if runs is None:
        raise DisorderError
    if not len(named):
        return None
    low, high = np.searchsorted(asked.entity, [named[0], named[-1] + 1])
    run = np.searchsorted(named, asked.entity[low:high])
    here = low + np.flatnonzero(named[run] == asked.entity[low:high])
    rows = runs.last_by(run[here - low], asked.moment[here])
    here, rows = here[rows >= 0], rows[rows >= 0]
    too_old = asked.too_old(steps, rows, here)
    return _Passed(
        first=(int(named[0]), int(runs.moment[runs.first[0]])),
        last=(int(named[-1]), int(runs.moment[runs.end[-1] - 1])),
        questions=here,
        steps=steps.select(pl.col(columns).gather(pl.Series(rows))),
        too_old=False if too_old is None else too_old,
    )


def at_rest(steps: pl.DataFrame, asked: Questions, columns: Sequence[str]) -> Found:
    """The steps in force, of a timeline in any order."""
    steps = _timed(steps)
    standing = _Standing.of(steps, asked.codes)
    runs, named = standing.runs()
    if runs is not None:
        first, end = np.zeros((2, len(asked.codes)), dtype=np.int64)
        first[named], end[named] = runs.first, runs.end
        rows = Runs(runs.moment, first, end).last_by(asked.entity, asked.moment)
    else:
        axis, sorted_rows = standing.sorted_by(len(asked.codes))
        rows = axis.last_by(asked.entity, asked.moment)
        rows = np.where(rows < 0, -1, sorted_rows[rows]) if len(sorted_rows) else rows
    too_old = asked.too_old(steps, rows) if steps.height else None
    if too_old is not None:
        rows = np.where(too_old, -1, rows)
    return steps.select(pl.col(columns).gather(positions(rows))), np.arange(len(rows))


def _timed(steps: pl.DataFrame) -> pl.DataFrame:
    return steps.filter(pl.col("known_at").is_not_null()) if steps["known_at"].null_count() else steps


@dataclass(frozen=True)
class _Standing:
    """Steps as they stand: rows of one entity in a row are a run, and its entity is read once.

    Attributes:
        known: The moment of every row.
        first: The first row of every run.
        heads: The code of every run's entity; ABSENT where nobody asks about it.
    """

    known: Ints
    first: Ints
    heads: Ints

    @classmethod
    def of(cls, steps: pl.DataFrame, codes: Codes) -> "_Standing":
        ids = steps["entity_id"]
        begins = ids.ne_missing(ids.shift(1)).to_numpy().copy()
        begins[:1] = True
        first = np.flatnonzero(begins)
        return cls(steps["known_at"].to_physical().to_numpy(), first, codes.encode(ids.gather(pl.Series(first))))

    def runs(self) -> tuple[Runs | None, Ints]:
        """The runs of the entities asked about, with their codes; no runs where they or their times are in no order."""
        asked = np.flatnonzero(self.heads >= 0)
        named = self.heads[asked]
        backwards = np.flatnonzero(self.known[1:] < self.known[:-1]) + 1
        if not is_rising(named) or not np.isin(backwards, self.first, assume_unique=True).all():
            return None, named
        return Runs(self.known, self.first[asked], np.append(self.first[1:], len(self.known))[asked]), named

    def sorted_by(self, entities: int) -> tuple[Axis, Ints]:
        """The steps of the entities asked about, sorted, and their rows."""
        entity = np.repeat(self.heads, np.diff(np.append(self.first, len(self.known))))
        rows = np.flatnonzero(entity >= 0)
        entity, known = entity[rows], self.known[rows]
        order = order_by(entity, known)
        if order is not None:
            rows, entity, known = rows[order], entity[order], known[order]
        return Axis(entity, known, entities), rows
