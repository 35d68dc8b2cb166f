"""How a table's last days went, as pictures on the newest one: rows, what waits, lateness, freshness, and how far features moved.

It is drawn from what Dagster was told of each day, never from the rows: it costs the same whatever the tables hold.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from crm_platform.defs.materialized import newest
from crm_platform.defs.report import shown
from crm_platform.quality.measures import PSI_LIMIT, SMALL_SHIFT
from crm_platform.quality.pictures import fields_over_days, lines_over_days

DAYS = 30
"""How far a picture looks back."""

HOUR = 3600
DRAWN = {
    "dagster/partition_row_count": ("rows", 1),
    "quarantined": ("rows in quarantine", 1),
    "late_p99_seconds": ("recorded late, hours (p99)", HOUR),
    "lag_p99_seconds": ("until it landed, hours (p99)", HOUR),
    "lag_seconds": ("until it landed, hours", HOUR),
    "behind_seconds": ("behind the source's clock, hours", HOUR),
}
"""By fact of a day, what its line is called, and what one unit of it is."""
DRIFT = "feature_drift"
"""The fact of a timeline's day that says how far its features have moved."""
LIMITS, LEVELS = (SMALL_SHIFT, PSI_LIMIT), ("still: up to 0.1", "a small shift: up to 0.25", "a significant shift")
TOLD = frozenset({*DRAWN, DRIFT})


def with_picture(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, days: Mapping[dt.date, Mapping[str, Any]]
) -> dict[dt.date, Mapping[str, Any]]:
    """The facts of some days, the last of which gains `over_time`, once there are two days to draw.

    Args:
        instance: Where stands what was told of the days before.
        asset_key: Whose days.
        days: What is about to be told, by day.
    """
    told = dict(days)
    if not told:
        return told
    last = max(told)
    window = [last - dt.timedelta(days=n) for n in range(DAYS)]
    facts = _told_before(instance, asset_key, [day for day in window if day not in told])
    facts |= {day: shown(told[day]) for day in window if day in told}
    series = {
        label: {day: facts[day][name] / unit for day in sorted(facts) if name in facts[day]}
        for name, (label, unit) in DRAWN.items()
    }
    drawn = {label: line for label, line in series.items() if len(line) > 1}
    name = asset_key.to_user_string()
    if drawn:
        told[last] = {**told[last], "over_time": lines_over_days(f"{name}, day by day", drawn, {})}
    moved = _by_feature({day: facts[day][DRIFT] for day in sorted(facts) if DRIFT in facts[day]})
    if moved:
        title = f"{name}: how far features are from those of four weeks before (PSI)"
        told[last] = {**told[last], f"{DRIFT}_over_time": fields_over_days(title, moved, LIMITS, LEVELS)}
    return told


def _by_feature(days: Mapping[dt.date, Mapping[str, float]]) -> dict[str, dict[dt.date, float]]:
    """The same by feature and day, what has moved most first."""
    names = {name for moved in days.values() for name in moved}
    lines = {name: {day: moved[name] for day, moved in days.items() if name in moved} for name in names}
    return dict(sorted(lines.items(), key=lambda one: (-max(one[1].values()), one[0])))


def _told_before(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, days: Sequence[dt.date]
) -> dict[dt.date, dict[str, Any]]:
    """What the newest materialization of each of some days told; days that have none are left out."""
    return {
        day: {name: value.value for name, value in record.asset_materialization.metadata.items() if name in TOLD}
        for day, record in newest(instance, asset_key, days).items()
        if record.asset_materialization is not None
    }
