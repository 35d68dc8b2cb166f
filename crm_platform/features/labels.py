"""What a model shall foresee: which entities are asked about and when, and what then became of them.

Pure: frames and moments in, frames out. What was known when the question was asked (the features) is not decided here,
nor where the answers are kept.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from crm_platform.contracts import UTC_US, PermanentError
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.timelines import build_timeline
from crm_platform.features.views import Attribute, FeatureView

LABELS = ("label", "label_event_time", "label_known_at")
"""The columns that tell the outcome: nothing a model may be given as input."""

_ORDER = ("event_time", "processed_time", "source_position")


class LabelError(PermanentError):
    """A label or a spine cannot be made as it is asked for."""

    @classmethod
    def naive(cls, what: str, moment: datetime) -> "LabelError":
        """Says that a moment bears no time zone."""
        return cls(f"{what} {moment.isoformat()} has no time zone. Give it in UTC, as datetime(…, tzinfo=UTC).")

    @classmethod
    def span(cls, what: str, span: timedelta, least: str) -> "LabelError":
        """Says that a stretch of time is shorter than makes sense."""
        return cls(f"{what} is {span}, which is less than {least}. Give a longer one.")

    @classmethod
    def column(cls, missing: list[str]) -> "LabelError":
        """Says that the versions lack what the label reads."""
        return cls(
            f"The versions lack {', '.join(missing)}, which the label reads. Give it those columns of history too."
        )


@dataclass(frozen=True)
class Conversion:
    """The outcome "the field becomes the value": within `horizon` of the question, as known `grace` later.

    `closed` are the values at which nobody asks any more (beside the outcome itself), so that such entities are no
    rows of a spine.
    """

    field: str
    value: str
    horizon: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(0)
    closed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a horizon that holds no moment and a grace that looks back."""
        if self.horizon <= timedelta(0):
            raise LabelError.span("The label's horizon", self.horizon, "one microsecond")
        if self.grace < timedelta(0):
            raise LabelError.span("The label's grace", self.grace, "zero")


def grid(first: datetime, last: datetime, every: timedelta = timedelta(days=7)) -> pl.Series:
    """The moments `first, first + every, …`, none of them after `last`; none at all where `last` is before `first`.

    Raises:
        LabelError: A moment has no time zone, or the step is not positive.
    """
    for what, moment in (("The grid's first moment", first), ("The grid's last moment", last)):
        if moment.tzinfo is None:
            raise LabelError.naive(what, moment)
    if every <= timedelta(0):
        raise LabelError.span("The grid's step", every, "one microsecond")
    return pl.datetime_range(first, last, every, time_unit="us", time_zone="UTC", eager=True).alias("as_of")


def last_mature(watermark: datetime, outcome: Conversion) -> datetime:
    """The last `as_of` whose outcome is known in full at the watermark."""
    return watermark - outcome.horizon - outcome.grace


def open_spine(
    versions: pl.LazyFrame, moments: pl.Series, outcome: Conversion, merges: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Every entity at every moment at which it is known, alive, and still open.

    Open is what the outcome's field says as known at the moment: neither the outcome nor one of `closed`; a field that
    nobody has filled yet is open.

    Args:
        versions: The history of the entities.
        moments: The questions' moments (UTC, µs).
        outcome: What is to be foreseen.
        merges: The merge facts of the object; the loser of a merge is no row once that is known.

    Returns:
        One row per question: entity_id, as_of; sorted by both.
    """
    view = FeatureView(name="open", entity="entity", features=[Attribute(outcome.field)])
    steps = build_timeline(view, None, merges, versions=versions).collect()
    questions = steps.select(pl.col("entity_id").unique().sort()).join(
        moments.unique().sort().alias("as_of").to_frame(), how="cross", maintain_order="left_right"
    )
    is_open = pl.col(outcome.field).is_in([outcome.value, *outcome.closed]).fill_null(value=False).not_()
    known = point_in_time_join(questions, steps)
    return known.filter(pl.col("is_deleted").not_(), is_open).select("entity_id", "as_of")


def label_conversions(
    spine: pl.DataFrame, versions: pl.LazyFrame, outcome: Conversion, *, watermark: datetime
) -> pl.DataFrame:
    """Says of each question whether the field became the value in `(as_of, as_of + horizon]` by business time.

    Read as known at `as_of + horizon + grace`: the writes of the field that are known then, in version order; it
    becomes the value where a write of it follows a write of something else, or none. A later correction takes nothing
    back, and neither does a delete.

    Args:
        spine: One row per question: entity_id, as_of (UTC, µs), anything else.
        versions: The history of the entities, with the outcome's field.
        outcome: What is to be foreseen.
        watermark: Everything known up to here is in `versions`; a question whose answer lies beyond it is left out.

    Returns:
        The spine's mature rows in the spine's order, and beside them label (boolean), label_event_time (the first such
        write in the window, null without one) and label_known_at (the moment at which the outcome was read).

    Raises:
        LabelError: The versions lack a column, or the watermark has no time zone.
    """
    if watermark.tzinfo is None:
        raise LabelError.naive("The watermark", watermark)
    read_at = pl.col("as_of") + outcome.horizon + outcome.grace
    mature = (
        spine.with_columns(read_at.cast(UTC_US).alias("label_known_at"))
        .filter(pl.col("label_known_at") <= watermark)
        .with_row_index("_row")
    )
    in_window = (pl.col("event_time") > pl.col("as_of")) & (pl.col("event_time") <= pl.col("as_of") + outcome.horizon)
    found = (
        mature.lazy()
        .select("_row", "entity_id", "as_of", "label_known_at")
        .join(_writes(versions, outcome), on="entity_id", how="inner")
        .filter(pl.max_horizontal("event_time", "processed_time") <= pl.col("label_known_at"))
        .sort("_row", *_ORDER, nulls_last=False)
        .with_columns(pl.col("_is_value").shift(1, fill_value=False).over("_row", order_by=None).alias("_was_value"))
        .filter(pl.col("_is_value"), pl.col("_was_value").not_(), in_window)
        .group_by("_row")
        .agg(pl.col("event_time").min().alias("label_event_time"))
        .collect()
    )
    return (
        mature.join(found, on="_row", how="left", maintain_order="left")
        .with_columns(pl.col("label_event_time").is_not_null().alias("label"))
        .select(*spine.columns, *LABELS)
    )


def _writes(versions: pl.LazyFrame, outcome: Conversion) -> pl.LazyFrame:
    """The versions that write the outcome's field, and whether they write its value."""
    needed = ["entity_id", *_ORDER, "is_tombstone", "changed_fields", outcome.field]
    missing = [column for column in needed if column not in versions.collect_schema().names()]
    if missing:
        raise LabelError.column(missing)
    named = pl.col("changed_fields").list.contains(outcome.field).fill_null(value=True)
    return versions.filter(pl.col("is_tombstone").not_(), named).select(
        "entity_id", *_ORDER, (pl.col(outcome.field) == outcome.value).fill_null(value=False).alias("_is_value")
    )
