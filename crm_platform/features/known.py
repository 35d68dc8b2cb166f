"""What is known of entities and their activities, and what a view makes of it at any moment.

Here the parts meet: what activities contribute, what is known of entities, and the moments to look at. A step is a moment
at which the answer differs from the one before; that is all there is to it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import polars as pl

from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.features.axes import Axis, distinct_pairs
from crm_platform.features.columns import Columns
from crm_platform.features.courses import Course, Pairs, Places
from crm_platform.features.entities import Closing, EntityStates, entity_states
from crm_platform.features.portions import Frame, Inputs
from crm_platform.features.segments import (
    Contributions,
    Segments,
    activity_steps,
    coded,
    named_by,
    news_of,
    segments_of,
)
from crm_platform.features.streams import side_by_side
from crm_platform.features.views import FeatureView
from crm_platform.features.windows import Windows, micros, spans_of
from crm_platform.history.codes import Codes, Flags, Ints
from crm_platform.history.links import roots_of
from crm_platform.history.orders import is_new
from crm_platform.history.registers import VERSION_ORDER, steps_of
from crm_platform.history.walks import FOREVER

CHUNK = 250_000
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


@dataclass(frozen=True)
class Known:
    """All that a view's answers depend on.

    Attributes:
        view: The view.
        codes: Numbers the entities.
        segments: What activities contribute.
        states: What is known of the entities themselves.
        read: The activities' columns.
        within: The codes of the entities that are answered about, the last one exclusive.
    """

    view: FeatureView
    codes: Codes
    segments: Segments
    states: EntityStates
    read: Columns
    within: tuple[int, int]

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Ranges of entities that are worked on at once."""
        load: Ints = self._offsets() * (1 + len(self.spans)) + self.states.axis.offsets
        low, end = self.within
        while low < end:
            high = min(max(int(np.searchsorted(load, int(load[low]) + CHUNK, side="right")) - 1, low + 1), end)
            yield low, high
            low = high

    def all_steps(self, since: int | None, until: int | None) -> Iterator[pl.DataFrame]:
        """The steps of all entities that are answered about, one range after the other."""
        return side_by_side(lambda stretch: self.steps(*stretch, since, until), self.stretches())

    def steps(self, low: int, high: int, since: int | None = None, until: int | None = None) -> pl.DataFrame:
        """The steps of a range of entities, in a window (µs)."""
        part = self._part(low, high)
        happenings = [*part.happenings(self.spans), self._news(part)]
        if since is None and until is None:
            places = Places.of_all(happenings, part.course.entities)
        else:
            places = Places.at(self._window(happenings, low, high, since, until), happenings)
        entity, moment = places.axis.entity, places.axis.moment
        changed = happenings[-1][1][places.passed[-1] - 1] if len(entity) else moment
        if self.states.closing is not None:
            changed = self.states.closing.news(entity + low, changed)
        found = self._values(part, places, low).insert_column(0, pl.Series("changed_at", changed).cast(UTC_US))
        differs = differing(found)
        differs[1:] |= entity[1:] != entity[:-1]
        if since is not None:
            differs &= moment >= since
        if not differs.all():
            entity, moment, found = entity[differs], moment[differs], found.filter(pl.Series(differs))
        return pl.DataFrame(
            [
                self.codes.decode(entity + low).alias("entity_id"),
                pl.Series("known_at", moment).cast(UTC_US),
                *found.get_columns(),
            ]
        )

    def at(self, entity: Ints, moment: Ints) -> pl.DataFrame:
        """What the view says of entities at moments (µs), sorted by both: is_deleted and the features, or nulls.

        Nulls stand before an entity's first step.
        """

        def of(stretch: tuple[int, int]) -> pl.DataFrame:
            low, high = stretch
            asked = slice(*np.searchsorted(entity, [low, high]))
            part = self._part(low, high)
            axis = Axis(entity[asked] - low, moment[asked], part.course.entities)
            return self._values(part, Places.at(axis, part.happenings(self.spans)), low)

        return pl.concat(side_by_side(of, list(self.stretches()) or [(0, 0)]))

    @cached_property
    def spans(self) -> list[int | None]:
        """The windows of the view (µs; None for all time)."""
        return spans_of(self.view)

    def _part(self, low: int, high: int) -> "_Part":
        known = self.segments.of(low, high)
        return _Part(known, Course.of(known, max(high - low, 1)), self.states.of(low, high))

    def _values(self, part: "_Part", places: Places, low: int) -> pl.DataFrame:
        """is_deleted and the features, in the view's order, at places whose entities count from low."""
        stepped, begun, *ended = places.passed
        states = self.states.at(places.axis.entity + low, stepped + self.states.axis.offsets[low])
        windows = Windows(part.course, places.axis, begun, dict(zip(self.spans, ended, strict=False)), self.read)
        columns = windows.columns(self.view)
        unknown = states["is_deleted"].is_null()
        if unknown.any():
            columns = {name: pl.select(pl.when(~unknown).then(one)).to_series() for name, one in columns.items()}
        own = {name: states[name] for name in states.columns}
        return pl.DataFrame({name: (own | columns)[name] for name in ("is_deleted", *self.view.columns)})

    def _news(self, part: "_Part") -> Pairs:
        """Entities and moments of all news."""
        acted = news_of(part.known, micros(self.view.longest))
        entity, moment = (np.concatenate(side) for side in zip(acted, part.own, strict=True))
        return distinct_pairs(entity, moment)

    def _window(self, happenings: Sequence[Pairs], low: int, high: int, since: int | None, until: int | None) -> Axis:
        """The moments of a window at which anything happens, and the one just before it."""
        entity, moment = (np.concatenate(side) for side in zip(*happenings, strict=True))
        inside = np.ones(len(moment), dtype=np.bool_)
        if since is not None:
            inside &= moment >= since
        if until is not None:
            inside &= moment < until
        entity, moment = entity[inside], moment[inside]
        if since is not None:
            asked = np.unique(entity)
            before = asked[self.states.first_steps()[asked + low] < since]
            entity = np.concatenate([entity, before])
            moment = np.concatenate([moment, np.full(len(before), since - 1)])
        return Axis(*distinct_pairs(entity, moment), max(high - low, 1))

    def _offsets(self) -> Ints:
        return np.searchsorted(self.segments.entity, np.arange(len(self.codes) + 1)).astype(np.int64)


@dataclass(frozen=True)
class _Part:
    """What is known of a range of entities, which count from 0 there.

    Attributes:
        known: What activities contribute, as segments give it.
        course: The same in the order of starts.
        own: The entities' own steps.
    """

    known: Contributions
    course: Course
    own: Pairs

    def happenings(self, spans: Sequence[int | None]) -> list[Pairs]:
        """What happens to the features: the entities' own steps, and contributions that begin, and end in each window."""
        endings = [self.course.ending(span) for span in spans]
        begins = self.course.known.entity, self.course.starts
        return [self.own, begins, *((one.entity, one.moment) for one in endings)]


def known_of(view: FeatureView, inputs: Inputs, since: int | None = None, *, asked: pl.Series | None = None) -> Known:
    """Reads history for a view.

    Args:
        view: The view.
        inputs: Its history.
        since: The moment (µs) before which closing rows stood.
        asked: The entities that will be asked about; None for all there are.

    Raises:
        TimelineError: The view needs what was not given.
        VersionsError: A column is missing, or a time is none.
    """
    activities, merges, versions = inputs.activities, inputs.merges, inputs.versions
    before = None if inputs.closing is None or since is None else (inputs.closing.lazy().collect(), since)
    if versions is None and view.attributes:
        raise TimelineError.unattributed(view)
    if activities is None and view.over_activities:
        raise TimelineError.inactive(view)
    key = None if activities is None else view.key
    id_type = _type_of_ids(activities, key, versions)
    roots = roots_of(merges, id_type)
    alone = None if asked is None or asked.dtype != id_type else Codes.of(asked, roots.named["entity_id"])
    if versions is not None and alone is not None:
        versions = versions.lazy().filter(pl.col("entity_id").is_in(alone.ids.implode()))
    own = None if versions is None else steps_of(versions, [one.columns[0] for one in view.attributes])
    columns = [
        roots.named["entity_id"],
        *([own.ids] if own else []),
        *([] if before is None else [before[0]["entity_id"]]),
    ]
    types = [*([] if id_type is None or key is None else [id_type]), *(one.dtype for one in columns)]
    if len(set(map(str, types))) > 1:
        raise TimelineError.types(view, list(map(str, types)))
    acted = None
    is_numbered = alone is not None and id_type == pl.String and key not in view.reads
    if activities is not None and key is not None:
        if alone is not None and is_numbered:
            activities = activities.lazy().with_columns(pl.col(key).cast(alone.texts, strict=False))
        acted = activity_steps(activities, key, view.time, view.reads, is_named=view.asks_for_order)
    read = Columns(pl.DataFrame() if acted is None else acted.rows)
    with ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(read.prepare, view)
        named = [] if acted is None or key is None else [acted.rows[key]]
        codes = Codes.of(*columns, *named) if alone is None else alone
        owners = [codes.numbers(one) if is_numbered else codes.encode(one) for one in named]
        prepared.result()
    first = np.full(len(codes), FOREVER, dtype=np.int64)
    first[codes.encode(roots.named["entity_id"])] = roots.named["known_at"].to_numpy()
    if own is not None:
        begins = is_new(own.entity)
        np.minimum.at(first, codes.encode(own.ids), own.since[begins])
    segments = Segments.none()
    if acted is not None and key is not None:
        (owner,) = owners
        np.minimum(first, named_by(acted, key, owner, len(codes)), out=first)
        pieces = coded(roots.pieces, codes)
        held = list(dict.fromkeys([*view.reads, *(VERSION_ORDER if view.asks_for_order else ())]))
        segments = segments_of(acted, owner, pieces, key=key, time=view.time, reads=view.reads).holding(held)
        read = read.holding(held)
    closing = None if before is None else Closing.of(before[0], codes, before[1], view.attributes)
    states = entity_states(codes, first, own, view.attributes, roots.pieces, closing=closing, are_news=asked is None)
    return Known(view, codes, segments, states, read, within=codes.between(inputs.low, inputs.high))


def _type_of_ids(activities: Frame | None, key: str | None, versions: Frame | None) -> pl.DataType | None:
    """The type of the entities' ids, as activities name them or else as versions do; None where nothing tells."""
    if activities is not None and key is not None:
        return activities.lazy().collect_schema().get(key)
    return None if versions is None else versions.lazy().collect_schema().get("entity_id")


def differing(rows: pl.DataFrame) -> Flags:
    """Whether a row differs from the one before in any column; the first does."""
    found = np.ones(rows.height, dtype=np.bool_)
    if rows.height:
        unlike = [(column[1:].ne_missing(column[:-1])).to_numpy() for column in rows.get_columns()]
        found[1:] = np.logical_or.reduce(unlike)
    return found
