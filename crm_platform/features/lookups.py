"""Features at given moments, straight from history: the answer of a join with the timeline, and no timeline.

The moments asked about take the place of the steps; everything else is what `known` tells.
"""

import numpy as np
import polars as pl

from crm_platform.features.known import known_of
from crm_platform.features.portions import Frame, Inputs
from crm_platform.features.spines import SpineError, check_spine, micros_of, moments_of, refuse_taken, since_then
from crm_platform.features.views import FeatureView
from crm_platform.history.codes import ABSENT
from crm_platform.history.orders import order_by


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
    keys = spine["entity_id"]
    known = known_of(view, Inputs(activities, merges, versions), asked=keys)
    if keys.dtype != known.codes.ids.dtype and keys.null_count() < len(keys):
        raise SpineError.key_type("entity_id", keys.dtype, known.codes.ids.dtype)
    asked, moment = known.codes.encode(keys.cast(known.codes.ids.dtype)), micros_of(as_of)
    order = np.flatnonzero(asked != ABSENT)
    by_time = order_by(asked[order], moment[order])
    order = order if by_time is None else order[by_time]
    found = known.at(asked[order], moment[order])
    place = np.full(len(keys), -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    picked = pl.Series(place)
    answers = since_then(found.select(pl.all().gather(picked.set(picked < 0, None))), as_of)
    refuse_taken(spine, answers.columns)
    return spine.hstack(answers)
