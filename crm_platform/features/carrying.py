"""Which activities an increment of a view carries in, and whose others it has to look up after all.

Pure. Those that are in a window or will be are carried, and of each key the two that come first or last in every order
that looks at all time. The rest is cold: it shows in no feature until a newer version touches it, or until both of the
two before it are touched. A key, not its root, is what they are chosen for, so that merges recombine them.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.views import FeatureView, First, Max, Min, Windowed
from crm_platform.history.living import living
from crm_platform.history.registers import TIMES, steps_of

Frame = pl.DataFrame | pl.LazyFrame

CHAMPIONS = 2
"""How many of each key are carried in an order: one may be touched, and the next is at hand."""


def registers_of(view: FeatureView) -> list[str]:
    """The activities' columns that a view reads, its key and business time first."""
    return list(dict.fromkeys([str(view.key), view.time, *view.reads]))


def activities_that_matter(view: FeatureView, activities: Frame, as_of: datetime) -> pl.DataFrame:
    """The living versions of the activities that a view's features can show after a moment, untouched.

    Args:
        view: The view; it has a key.
        activities: One row per version, in history's columns.
        as_of: The moment (inclusive).

    Returns:
        One row per version, in the columns of `living`.
    """
    rows = activities.lazy().collect()
    fields = [name for name in rows.columns if name not in {"entity_id", *TIMES, *_ORDERING}]
    if _adds_up_all_time(view):
        return living(rows, as_of, fields)
    standing = _standing(view, rows, as_of)
    kept = [_open(view, standing, as_of)["entity_id"], _known_later(rows, as_of)]
    kept += [champions["entity_id"] for champions, _ in _champions(view, standing, as_of)]
    wanted = pl.concat(kept).unique()
    return living(rows.filter(pl.col("entity_id").is_in(wanted.implode())), as_of, fields)


def left_out(carried: pl.DataFrame, touched: pl.Series) -> pl.Series:
    """The touched activities of which older versions were not carried, if there are any."""
    return touched.filter(~touched.is_in(carried["entity_id"].unique().implode()))


def still_open(since: pl.DataFrame, day: datetime, moment: datetime) -> pl.Series:
    """The activities of which older versions may show after a moment, going by those recorded since a day alone.

    A full image that is dated since the day, and known before the moment, hides for good whatever was known before the
    day: nothing older of such an activity has to be looked up.
    """
    is_whole = pl.col("changed_fields").is_null() & ~pl.col("is_tombstone").fill_null(value=False)
    known = pl.max_horizontal(TIMES) < pl.lit(moment, UTC_US)
    hidden = since.filter(is_whole, known, pl.col("event_time") >= pl.lit(day, UTC_US))["entity_id"].unique()
    return since.filter(~pl.col("entity_id").is_in(hidden.implode()))["entity_id"].unique()


def keys_at_risk(view: FeatureView, carried: pl.DataFrame, touched: pl.Series, as_of: datetime) -> pl.Series:
    """The keys of which something that was not carried may show, since all that comes before it was touched.

    Args:
        view: The view.
        carried: What `activities_that_matter` gave at the moment.
        touched: The ids of activities with a version that was recorded afterwards.
        as_of: The moment.

    Returns:
        Keys; of whatever ever had one of them, all versions have to be looked up.
    """
    none = pl.Series([], dtype=carried.schema[str(view.key)])
    if _adds_up_all_time(view):
        return none
    standing = _standing(view, carried, as_of)
    moved = pl.concat([touched, _known_later(carried, as_of)]).unique()
    found = [none]
    for champions, sure in _champions(view, standing, as_of):
        crowded = champions.group_by("key").len().filter(pl.col("len") == CHAMPIONS)
        still = sure.filter(~pl.col("entity_id").is_in(moved.implode()))
        found.append(crowded.join(still, on="key", how="anti")["key"])
    return pl.concat(found).unique().sort()


_ORDERING = ("source_position", "is_tombstone", "changed_fields")


def _spans(view: FeatureView) -> list[timedelta | None]:
    return [one.span for one in view.over_activities if isinstance(one, Windowed) and not _is_extreme(one)]


def _is_extreme(feature: object) -> bool:
    return isinstance(feature, Min | Max) and feature.span is None


def _adds_up_all_time(view: FeatureView) -> bool:
    """Whether a count, a sum or a distinct looks at all time: then every activity shows."""
    return None in _spans(view)


def _reach(view: FeatureView) -> timedelta:
    """The longest window there is."""
    return max((span for span in _spans(view) if span is not None), default=timedelta(0))


def _standing(view: FeatureView, rows: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """The activities that count for somebody, sooner or later, as known at a moment: one row each."""
    steps = steps_of(rows, registers_of(view), "activities")
    at = pl.Series([as_of], dtype=UTC_US).to_physical().item()
    now = (steps.since <= at) & (at < steps.until) & ~steps.is_tombstone
    newest = steps.rows.select(*TIMES, "source_position")[pl.Series(steps.newest[now])]
    shown = {name: steps.shown(name, now) for name in registers_of(view)}
    return pl.DataFrame(
        {
            "entity_id": steps.ids.gather(pl.Series(steps.entity[now])),
            "key": shown[str(view.key)],
            "time": shown[view.time],
            **{name: newest[name] for name in newest.columns},
            **{f"value {name}": column for name, column in shown.items()},
        }
    ).filter(pl.col("key").is_not_null(), pl.col("time").is_not_null())


def _open(view: FeatureView, standing: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Those that are in a window, or take place later."""
    return standing.filter(pl.col("time") > pl.lit(as_of - _reach(view), UTC_US))


def _known_later(rows: pl.DataFrame, as_of: datetime) -> pl.Series:
    return rows.filter(pl.max_horizontal(TIMES) > pl.lit(as_of, UTC_US))["entity_id"].unique()


def _champions(
    view: FeatureView, standing: pl.DataFrame, as_of: datetime
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """For every order that looks at all time: the two of each key, and all that are known to come before any other."""
    if view.longest is not None or not view.over_activities:
        return
    started = standing.filter(pl.col("time") <= pl.lit(as_of, UTC_US))
    in_time = started.sort("key", "time", *TIMES, "source_position", "entity_id", nulls_last=False)
    last = _of_each_key(in_time.reverse())
    yield last, pl.concat([last, _open(view, started, as_of).select(last.columns)])
    if any(isinstance(one, First) for one in view.over_activities):
        first = _of_each_key(in_time)
        yield first, first
    for one in view.over_activities:
        if _is_extreme(one):
            given = started.filter(pl.col(f"value {one.column}").is_not_null())
            best = _of_each_key(given.sort(f"value {one.column}", descending=isinstance(one, Max)))
            yield best, best


def _of_each_key(ranked: pl.DataFrame) -> pl.DataFrame:
    return ranked.group_by("key", maintain_order=True).head(CHAMPIONS).select("entity_id", "key")
