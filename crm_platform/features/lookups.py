"""Features at given moments, straight from history: the answer of a join with the timeline, and no timeline.

The moments asked about take the place of the steps; everything else is what `known` tells, of all of history at once or,
where entities can be looked at one after the other, of a portion of them at a time (`passing`).
"""

import numpy as np
import polars as pl

from crm_platform.features.known import known_of
from crm_platform.features.passing import Answers, in_passing
from crm_platform.features.portions import Frame, Inputs
from crm_platform.features.searches import Questions
from crm_platform.features.spines import SpineError, check_spine, micros_of, moments_of, refuse_taken, since_then
from crm_platform.features.views import FeatureView
from crm_platform.history.codes import Ints, gathered


def features_at(
    spine: pl.DataFrame,
    view: FeatureView,
    activities: Frame | None,
    merges: Frame | None = None,
    *,
    versions: Frame | None = None,
) -> pl.DataFrame:
    """What a view says of each spine row's entity at its as_of.

    Args:
        spine: One row per question: entity_id, as_of (with time zone), anything else.
        view: What to compute.
        activities: As for build_timeline.
        merges: As for build_timeline.
        versions: As for build_timeline.

    Returns:
        Exactly what `point_in_time_join(spine, build_timeline(view, …))` gives.

    Raises:
        SpineError: The spine lacks a column, as_of is naive, or a column is taken.
        TimelineError: The view needs what was not given.
        VersionsError: A column is missing, or a time is none.
    """
    check_spine(spine, "entity_id")
    as_of = moments_of(spine)
    inputs, keys = Inputs(activities, merges, versions), spine["entity_id"]
    found = in_passing(view, inputs, keys, micros_of(as_of))
    answers, places = _at_rest(view, inputs, keys, micros_of(as_of)) if found is None else found
    place = np.full(len(keys), -1, dtype=np.int64)
    place[places] = np.arange(len(places))
    told = since_then(gathered(answers, place), as_of)
    refuse_taken(spine, told.columns)
    return spine.hstack(told)


def _at_rest(view: FeatureView, inputs: Inputs, keys: pl.Series, moment: Ints) -> Answers:
    """The answers from all of history at once."""
    known = known_of(view, inputs, asked=keys)
    if keys.dtype != known.codes.ids.dtype and keys.null_count() < len(keys):
        raise SpineError.key_type("entity_id", keys.dtype, known.codes.ids.dtype)
    asked = Questions.of(keys.cast(known.codes.ids.dtype), moment, None)
    return known.at(known.codes.encode(asked.codes.ids)[asked.entity], asked.moment), asked.places
