"""How a table's last days went, as a picture on the newest one: rows, what waits, how late changes came, how fresh they landed.

It is drawn from what Dagster was told of each day, never from the rows: it costs the same whatever the tables hold.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from crm_platform.defs.materialized import newest
from crm_platform.defs.report import shown
from crm_platform.quality.pictures import lines_over_days

DAYS = 30
"""How far a picture looks back."""

HOUR = 3600
DRAWN = {
    "dagster/partition_row_count": ("rows", 1),
    "quarantined": ("rows in quarantine", 1),
    "late_p99_seconds": ("recorded late, hours (p99)", HOUR),
    "lag_p99_seconds": ("until it landed, hours (p99)", HOUR),
    "lag_seconds": ("until it landed, hours", HOUR),
}
"""By fact of a day, what its line is called, and what one unit of it is."""


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
    if drawn:
        title = f"{asset_key.to_user_string()}, day by day"
        told[last] = {**told[last], "over_time": lines_over_days(title, drawn, {})}
    return told


def _told_before(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, days: Sequence[dt.date]
) -> dict[dt.date, dict[str, Any]]:
    """What the newest materialization of each of some days told; days that have none are left out."""
    return {
        day: {name: value.value for name, value in record.asset_materialization.metadata.items() if name in DRAWN}
        for day, record in newest(instance, asset_key, days).items()
        if record.asset_materialization is not None
    }
