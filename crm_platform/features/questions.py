"""Questions of one's own, answered from the stored timelines: for notebooks, where no training set is declared.

Reads the lake; the join itself stands in `joins`. Whole training sets, with labels and manifests, are `training`'s.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from crm_platform.contracts import PermanentError
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.spines import SpineError, check_spine, moments_of
from crm_platform.lake import Lake
from crm_platform.landing import watermark


class QuestionError(PermanentError):
    """A spine asks for what the lake does not hold."""

    @classmethod
    def beyond(cls, rows: int, last: datetime, reached: datetime | None) -> "QuestionError":
        """Says that some questions lie after all that has landed."""
        known = "nothing has landed yet" if reached is None else f"the watermark is {reached.isoformat()}"
        return cls(
            f"{rows} rows of the spine look at moments that nobody knows yet, the last at {last.isoformat()}: {known}. "
            "Leave them out, or wait until those days have landed."
        )

    @classmethod
    def no_view(cls, missing: Sequence[str], known: Sequence[str]) -> "QuestionError":
        """Names the views that are not stored."""
        return cls(
            f"There are no stored timelines {', '.join(missing)}; there are: {', '.join(known) or 'none'}. "
            "Materialize them under features/, or ask for one of these."
        )


def stored_features_at(
    lake: Lake | Path | str,
    spine: pl.DataFrame,
    views: str | Sequence[str],
    *,
    embargo: timedelta,
    ttl: timedelta | None = None,
    on: str = "entity_id",
) -> pl.DataFrame:
    """Answers a spine from stored timelines, as known at `as_of − embargo`.

    Only the partitions from the start of the earliest question's month on are read: a keyframe stands there.

    Args:
        lake: The lake, or where it lies.
        spine: One row per question: the entity's key, as_of (with time zone), anything else.
        views: A view, or several: then their columns get the prefix `{view}__`.
        embargo: How much older than as_of the answers shall be; zero has to be said.
        ttl: Oldest age of the last news that still counts; None for no limit.
        on: What the spine calls the entity's key.

    Returns:
        The spine's rows in the spine's order, plus is_deleted and the features; null where nothing was known.

    Raises:
        QuestionError: A question looks beyond the watermark, or a view is not stored.
        SpineError: The spine lacks a column, as_of is naive, a column is taken, or a stretch of time is negative.
    """
    opened = lake if isinstance(lake, Lake) else Lake(lake)
    check_spine(spine, on)
    if embargo < timedelta(0):
        raise SpineError.negative("embargo", embargo)
    wanted = [views] if isinstance(views, str) else list(views)
    missing = [view for view in wanted if not opened.exists(f"features/{view}")]
    if missing:
        raise QuestionError.no_view(missing, _stored_views(opened))
    looked_up = moments_of(spine) - embargo
    _refuse_beyond(looked_up, watermark(opened))
    steps = {view: _steps(opened, view, looked_up) for view in wanted}
    timeline = steps[wanted[0]] if isinstance(views, str) else steps
    return point_in_time_join(spine, timeline, on=on, ttl=ttl, embargo=embargo)


def _refuse_beyond(looked_up: pl.Series, reached: datetime | None) -> None:
    beyond = looked_up.drop_nulls() if reached is None else looked_up.filter(looked_up > reached)
    last = beyond.max()
    if isinstance(last, datetime):
        raise QuestionError.beyond(beyond.len(), last, reached)


def _steps(lake: Lake, view: str, looked_up: pl.Series) -> pl.LazyFrame:
    """The steps that can answer: from the keyframe before the earliest moment to the latest moment."""
    first, last = looked_up.min(), looked_up.max()
    rows = lake.scan(f"features/{view}")
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return rows.head(0).drop("known_date")
    begin = first.astimezone(UTC).date().replace(day=1)
    within = pl.col("known_date").is_between(begin, last.astimezone(UTC).date())
    return rows.filter(within, pl.col("known_at") <= last).drop("known_date")


def _stored_views(lake: Lake) -> list[str]:
    return [table.removeprefix("features/") for table in lake.tables() if table.startswith("features/")]
