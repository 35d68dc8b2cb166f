"""Timelines: one row per entity and moment at which any of its features changes.

Here is the question, and in what portions it is answered. What a step is, and what is known of entities, stands in `known`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from crm_platform.features.known import TimelineError, known_of
from crm_platform.features.portions import Frame, Inputs, portions_of
from crm_platform.features.streams import give_back, streamed
from crm_platform.features.views import FeatureView

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


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
    whole = Inputs(activities, merges, versions, closing)
    portions = portions_of(view, whole)
    if portions is None:
        known = known_of(view, whole, window[0])
        return streamed(lambda: known.all_steps(*window), known.steps(0, 0).schema)
    empty = known_of(view, portions.emptied(), window[0])

    def frames() -> Iterator[pl.DataFrame]:
        for portion in portions:
            yield from known_of(view, portion, window[0]).all_steps(*window)
            give_back()

    return streamed(frames, empty.steps(0, 0).schema)


def _bound(name: str, moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise TimelineError.naive(name, moment)
    return (moment - EPOCH) // timedelta(microseconds=1)
