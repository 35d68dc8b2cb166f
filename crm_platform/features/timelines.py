"""Timelines: one row per entity and moment at which any of its features changes, and what a view says at any moment.

Here the parts meet: what activities contribute, what is known of entities, and the moments to look at. A step is a moment
at which the answer differs from the one before; that is all there is to it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.features.axes import Axis, distinct_pairs
from crm_platform.features.columns import Columns
from crm_platform.features.entities import Closing, EntityStates, entity_states
from crm_platform.features.segments import (
    Contributions,
    Segments,
    activity_steps,
    coded,
    named_by,
    news_of,
    segments_of,
)
from crm_platform.features.views import FeatureView, Windowed
from crm_platform.features.windows import Windows, micros
from crm_platform.history.codes import Codes, Ints
from crm_platform.history.links import roots_of
from crm_platform.history.registers import FOREVER, steps_of

Frame = pl.DataFrame | pl.LazyFrame

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
CHUNK = 1_000_000
"""How many contributions and steps one thread works on at once, about: what bounds memory."""


class TimelineError(PermanentError):
    """A timeline cannot be built from what was given."""

    @classmethod
    def unattributed(cls, view: FeatureView) -> "TimelineError":
        """Says that attributes need the entity's own versions."""
        names = ", ".join(one.columns[0] for one in view.attributes)
        return cls(
            f"View {view.name} carries {len(view.attributes)} attributes of {view.entity} ({names}), but no versions were "
            f"given. Pass the history of {view.entity} as `versions`, or leave the attributes out."
        )

    @classmethod
    def inactive(cls, view: FeatureView) -> "TimelineError":
        """Says that features over activities need activities."""
        return cls(
            f"View {view.name} has {len(view.over_activities)} features over activities, but no activities were given. "
            "Pass their history as `activities`, empty if there are none."
        )

    @classmethod
    def naive(cls, name: str, moment: datetime) -> "TimelineError":
        """Says that a moment has no time zone."""
        return cls(f"{name} {moment.isoformat()} has no time zone. Give it in UTC, as datetime(…, tzinfo=UTC).")

    @classmethod
    def endless(cls, view: FeatureView) -> "TimelineError":
        """Says that closing rows stand before a moment."""
        return cls(f"View {view.name} was given closing rows, but no `since` before which they stood. Give both.")

    @classmethod
    def types(cls, view: FeatureView, found: list[str]) -> "TimelineError":
        """Says that ids are not of one type."""
        return cls(
            f"View {view.name} finds ids of {view.entity} as {', '.join(found)}. Cast the versions' entity_id, the "
            f"activities' {view.key} and the merges' ids to one type."
        )


def build_timeline(
    view: FeatureView,
    activities: Frame | None,
    merges: Frame | None = None,
    *,
    versions: Frame | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    closing: Frame | None = None,
) -> pl.LazyFrame:
    """The steps of a view's features, for all entities.

    With closing rows, of the rows known before `since` only those that still matter then are needed: the living
    versions and facts (`history.living`), of activities that can count from then on.

    Args:
        view: What to compute.
        activities: One row per version of an activity: history's columns, the view's key, time and columns. None for a
            view of attributes alone.
        merges: One row per merge fact of the entities: loser_id, winner_id, event_time, processed_time.
        versions: One row per version of an entity, with the attributes' fields; without, merges alone say who is dead.
        since: Only the steps from here on, inclusive.
        until: Only the steps before here.
        closing: The last step before `since` of every entity that has one, in the timeline's columns; None to find out
            from the whole past.

    Returns:
        One row per step: entity_id, known_at, changed_at, is_deleted, the features; sorted by entity_id and known_at.
        Expiries still to come included, unless `until` cuts them off.

    Raises:
        TimelineError: The view needs what was not given, or a bound has no time zone.
        VersionsError: A column is missing, or a time is none.
        AmountError: A column that is summed holds no numbers.
    """
    window = _bound("since", since), _bound("until", until)
    if closing is not None and window[0] is None:
        raise TimelineError.endless(view)
    before = None if closing is None or window[0] is None else (closing.lazy().collect(), window[0])
    known = known_of(view, activities, merges, versions, before)
    stretches = list(known.stretches()) or [(0, 0)]
    return pl.concat(_side_by_side(lambda stretch: known.steps(*stretch, *window), stretches)).lazy()


@dataclass(frozen=True)
class Known:
    """All that a view's answers depend on.

    Attributes:
        view: The view.
        codes: Numbers the entities.
        segments: What activities contribute.
        states: What is known of the entities themselves.
        read: The activities' columns.
    """

    view: FeatureView
    codes: Codes
    segments: Segments
    states: EntityStates
    read: Columns

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Ranges of entities that are worked on at once."""
        spans = 1 + len({feature.span for feature in self.view.over_activities if isinstance(feature, Windowed)})
        load: Ints = self._offsets() * spans + self.states.axis.offsets
        low = 0
        while low < len(self.codes):
            high = max(int(np.searchsorted(load, int(load[low]) + CHUNK, side="right")) - 1, low + 1)
            yield low, high
            low = high

    def steps(self, low: int, high: int, since: int | None = None, until: int | None = None) -> pl.DataFrame:
        """The steps of a range of entities, in a window (µs)."""
        part = self.segments.of(low, high)
        rows = slice(self.states.axis.offsets[low], self.states.axis.offsets[high])
        entity, moment = self._candidates(part, rows, since, until)
        if since is not None:
            asked = np.unique(entity)
            before = asked[self.states.first_steps()[asked] < since]
            entity = np.concatenate([entity, before])
            moment = np.concatenate([moment, np.full(len(before), since - 1)])
        entity, moment = distinct_pairs(entity, moment)
        found = self._told(part, rows, Axis(entity - low, moment, max(high - low, 1)), low)
        differs = np.ones(len(entity), dtype=np.bool_)
        if len(entity):
            changes = found.select(pl.any_horizontal(pl.all().ne_missing(pl.all().shift(1)))).to_series().to_numpy()
            differs[1:] = changes[1:] | (entity[1:] != entity[:-1])
        if since is not None:
            differs &= moment >= since
        kept = pl.Series(differs)
        return pl.DataFrame(
            [
                self.codes.decode(entity[differs]).alias("entity_id"),
                pl.Series("known_at", moment[differs]).cast(UTC_US),
                *found.filter(kept).get_columns(),
            ]
        )

    def at(self, entity: Ints, moment: Ints) -> pl.DataFrame:
        """What the view says of entities at moments (µs), sorted by both: is_deleted and the features, or nulls.

        Nulls stand before an entity's first step.
        """

        def of(stretch: tuple[int, int]) -> pl.DataFrame:
            low, high = stretch
            asked = slice(*np.searchsorted(entity, [low, high]))
            part = self.segments.of(low, high)
            return self._values(part, Axis(entity[asked] - low, moment[asked], max(high - low, 1)), low)

        return pl.concat(_side_by_side(of, list(self.stretches()) or [(0, 0)]))

    def _values(self, part: Contributions, axis: Axis, low: int) -> pl.DataFrame:
        """is_deleted and the features, in the view's order, at the places of an axis whose entities count from low."""
        states = self.states.at(axis.entity + low, axis.moment)
        shifted = _shifted(part, low)
        columns = Windows(shifted, axis, self.read).columns(self.view)
        unknown = states["is_deleted"].is_null()
        if unknown.any():
            columns = {name: pl.select(pl.when(~unknown).then(one)).to_series() for name, one in columns.items()}
        own = {name: states[name] for name in states.columns}
        return pl.DataFrame({name: (own | columns)[name] for name in ("is_deleted", *self.view.columns)})

    def _told(self, part: Contributions, rows: slice, axis: Axis, low: int) -> pl.DataFrame:
        """changed_at, is_deleted and the features at the places of an axis whose entities count from low."""
        news_entity, news_moment = news_of(part, micros(self.view.longest))
        news = distinct_pairs(
            np.concatenate([news_entity, self.states.axis.entity[rows]]) - low,
            np.concatenate([news_moment, self.states.axis.moment[rows]]),
        )
        last = Axis(*news, len(axis.offsets) - 1).last_by(axis.entity, axis.moment)
        changed = news[1][last] if len(last) else last
        if self.states.closing is not None:
            changed = self.states.closing.news(axis.entity + low, changed)
        return self._values(part, axis, low).insert_column(0, pl.Series("changed_at", changed).cast(UTC_US))

    def _candidates(self, part: Contributions, rows: slice, since: int | None, until: int | None) -> tuple[Ints, Ints]:
        """The moments at which anything may change: sorted or not, repeated or not."""
        spans = {
            micros(feature.span) if isinstance(feature, Windowed) else None for feature in self.view.over_activities
        }
        starts = part.starts()
        entity, moment = [self.states.axis.entity[rows]], [self.states.axis.moment[rows]]
        for span in spans:
            ends = part.ends(span)
            counts = starts < ends
            finite = counts & (ends < FOREVER)
            entity += [part.entity[counts], part.entity[finite]]
            moment += [starts[counts], ends[finite]]
        everyone, always = np.concatenate(entity), np.concatenate(moment)
        inside = np.ones(len(always), dtype=np.bool_)
        if since is not None:
            inside &= always >= since
        if until is not None:
            inside &= always < until
        return everyone[inside], always[inside]

    def _offsets(self) -> Ints:
        return np.searchsorted(self.segments.entity, np.arange(len(self.codes) + 1)).astype(np.int64)


def known_of(
    view: FeatureView,
    activities: Frame | None,
    merges: Frame | None,
    versions: Frame | None,
    before: tuple[pl.DataFrame, int] | None = None,
) -> Known:
    """Reads history for a view; `before` are closing rows and the moment (µs) before which they stood.

    Raises:
        TimelineError: The view needs what was not given.
        VersionsError: A column is missing, or a time is none.
    """
    if versions is None and view.attributes:
        raise TimelineError.unattributed(view)
    if activities is None and view.over_activities:
        raise TimelineError.inactive(view)
    own = None if versions is None else steps_of(versions, [one.columns[0] for one in view.attributes])
    acted = None
    if activities is not None and view.key is not None:
        acted = activity_steps(activities, view.key, view.time, view.reads)
    id_type = acted.rows.schema[str(view.key)] if acted is not None else (own.ids.dtype if own is not None else None)
    roots = roots_of(merges, id_type)
    columns = [roots.named["entity_id"], *([own.ids] if own else []), *([acted.rows[str(view.key)]] if acted else [])]
    columns += [before[0]["entity_id"]] if before is not None else []
    if len({str(one.dtype) for one in columns}) > 1:
        raise TimelineError.types(view, [str(one.dtype) for one in columns])
    codes = Codes.of(*columns)
    first = np.full(len(codes), FOREVER, dtype=np.int64)
    first[codes.encode(roots.named["entity_id"])] = roots.named["known_at"].to_numpy()
    if own is not None:
        np.minimum.at(first, codes.encode(own.ids)[own.entity], own.since)
    segments = Segments.none()
    if acted is not None:
        key = str(view.key)
        owners = codes.encode(acted.rows[key])
        np.minimum(first, named_by(acted.rows, key, owners, len(codes)), out=first)
        pieces = coded(roots.pieces, codes)
        segments = segments_of(acted, owners, pieces, key=key, time=view.time, reads=view.reads)
    closing = None if before is None else Closing.of(before[0], codes, before[1], view.attributes)
    states = entity_states(codes, first, own, view.attributes, roots.pieces, closing=closing)
    read = Columns(pl.DataFrame() if segments.steps is None else segments.steps.rows)
    read.prepare(view)
    return Known(view, codes, segments, states, read)


def _side_by_side(
    work: Callable[[tuple[int, int]], pl.DataFrame], stretches: list[tuple[int, int]]
) -> list[pl.DataFrame]:
    """The work on each stretch, in order; numpy and Polars let threads run at the same time."""
    if len(stretches) == 1:
        return [work(stretches[0])]
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        return list(pool.map(work, stretches))


def _shifted(part: Contributions, low: int) -> Contributions:
    """The same with entities counted from low."""
    return Contributions(
        part.rows,
        part.entity - low,
        part.activity,
        part.since,
        part.until,
        part.occurred_at,
        part.newest,
        part.winners,
    )


def _bound(name: str, moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise TimelineError.naive(name, moment)
    return (moment - EPOCH) // timedelta(microseconds=1)
