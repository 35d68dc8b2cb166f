"""What columns a timeline and a training set have, and what they mean: known before anything is built.

How the values come about stands in `timelines`; which views there are in `catalogue`.
"""

from collections.abc import Mapping
from functools import cache

import polars as pl

from crm_platform.contracts import MERGES, UTC_US, Contract
from crm_platform.features.catalogue import BoundView
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.timelines import build_timeline
from crm_platform.features.views import (
    Attribute,
    Count,
    Distinct,
    Feature,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Std,
    Sum,
    Windowed,
)

STEP = {
    "entity_id": "Whose step it is.",
    "known_at": "From when on these values hold: join backward on it.",
    "changed_at": "The last news: a change that is no mere expiry.",
    "is_deleted": "Whether the entity was known to be dead: deleted, or merged into another.",
    "known_date": "The UTC day of known_at.",
}
"""What the columns of every timeline mean that are no features."""

QUESTION = {
    "entity_id": "Who is asked about.",
    "as_of": "The moment that the question is about: nothing known later is in the features.",
    "label": "Whether it came about within the horizon.",
    "label_event_time": "When it came about; null where it did not.",
    "label_known_at": "When the label was read: horizon and grace after as_of.",
}
"""What the columns of every training set mean that are no features."""

QUESTION_TYPES = pl.Schema(
    {
        "entity_id": pl.String(),
        "as_of": UTC_US,
        "label": pl.Boolean(),
        "label_event_time": UTC_US,
        "label_known_at": UTC_US,
    }
)

OVER: Mapping[type[Feature], str] = {
    Count: "How many activities there were{span}.",
    Sum: "The sum of {column} over the activities{span}.",
    Mean: "The mean of {column} over the activities{span}.",
    Std: "The standard deviation of {column} over the activities{span}.",
    Distinct: "How many different values of {column} the activities{span} have.",
    Min: "The least {column} of the activities{span}.",
    Max: "The greatest {column} of the activities{span}.",
    First: "The {column} of the first activity.",
    Last: "The {column} of the last activity.",
    Recency: "When the last activity took place.",
}
"""What a feature over activities means."""


Columns = tuple[tuple[str, pl.DataType], ...]
"""A schema that can be looked up."""


def timeline_schema(bound: BoundView, contracts: Mapping[str, Contract]) -> pl.Schema:
    """The columns of a view's stored timeline with their types."""
    activities = None if bound.activity is None else tuple(contracts[bound.activity].history_schema.items())
    return _schema_of(bound.view, activities, tuple(contracts[bound.entity].history_schema.items()))


@cache
def _schema_of(view: FeatureView, activities: Columns | None, versions: Columns) -> pl.Schema:
    """What the kernel makes of empty tables; asked once per view, for loading the definitions waits for it."""
    empty = None if activities is None else pl.LazyFrame(schema=dict(activities))
    steps = build_timeline(view, empty, pl.LazyFrame(schema=MERGES), versions=pl.LazyFrame(schema=dict(versions)))
    return pl.Schema({**steps.collect_schema(), "known_date": pl.Date()})


def timeline_meaning(bound: BoundView, contracts: Mapping[str, Contract]) -> dict[str, str]:
    """What every column of a view's stored timeline means, in the words of the CRM's contracts."""
    own = contracts[bound.entity].meaning
    told = dict(STEP)
    for feature in bound.view.features:
        if isinstance(feature, Attribute):
            value, *since = feature.columns
            told[value] = own[feature.column]
            told |= dict.fromkeys(since, f"Since when the present {feature.column} has been known.")
            continue
        span = f" of the last {feature.window}" if isinstance(feature, Windowed) and feature.window else ""
        means = OVER[type(feature)].format(column=feature.column, span=span)
        told |= dict.fromkeys(feature.columns, means)
    return told


def training_schema(bound: BoundView, contracts: Mapping[str, Contract]) -> pl.Schema:
    """The columns of a training set joined with one view's timeline, with their types."""
    return _joined_with(bound.name, tuple(timeline_schema(bound, contracts).items()))


@cache
def _joined_with(name: str, steps: Columns) -> pl.Schema:
    """What the join makes of no question; asked once per timeline, as above."""
    spine = pl.DataFrame(schema={"entity_id": pl.String(), "as_of": UTC_US})
    joined = point_in_time_join(spine, {name: pl.LazyFrame(schema=dict(steps))})
    return pl.Schema({**QUESTION_TYPES, **joined.schema})


def training_meaning(bound: BoundView, contracts: Mapping[str, Contract]) -> dict[str, str]:
    """What every column of such a training set means."""
    steps = timeline_meaning(bound, contracts)
    told = dict(QUESTION)
    for name in training_schema(bound, contracts):
        if name not in told:
            own = name.removeprefix(f"{bound.name}__")
            told[name] = steps.get(own) or f"How long, as of the question, since {read_by_join(own)}."
    return told


def read_by_join(column: str) -> str:
    """The timeline column that a training set's column comes from: the join measures stretches of time."""
    if column == "recency":
        return "last_at"
    return f"{column.removesuffix('_days')}_since" if column.endswith("_days") else column
