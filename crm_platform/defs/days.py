"""Days as Dagster's partitions: which there are, and which ones a run was asked for."""

import datetime as dt

import dagster as dg

from crm_platform.defs.settings import Settings

SINGLE_RUN = dg.BackfillPolicy.single_run()
YESTERDAY = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

NIGHTLY_CRON = "0 1 * * *"
_ASKED = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()
ONCE_A_NIGHT = (
    dg.AutomationCondition.cron_tick_passed(NIGHTLY_CRON, "UTC").since(_ASKED)
    & dg.AutomationCondition.any_deps_updated().since(_ASKED)
    & ~dg.AutomationCondition.in_progress()
).with_label("once a night, where anything it is made of is new")
"""When a table that is written as a whole is due. Asking for it, or writing it, forgets both causes, so that a table that always
fails is asked for once a night, and one whose sources stand still never (ADR 11)."""


def partitions_of(settings: Settings) -> dg.DailyPartitionsDefinition:
    """UTC days from first_day to last_day, or without the latter to today."""
    if settings.last_day is None:
        return dg.DailyPartitionsDefinition(start_date=settings.first_day.isoformat(), end_offset=1, timezone="UTC")
    end = settings.last_day + dt.timedelta(days=1)
    return dg.DailyPartitionsDefinition(
        start_date=settings.first_day.isoformat(), end_date=end.isoformat(), timezone="UTC"
    )


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[dt.date]:
    """The days a run was asked for, in order."""
    return sorted(dt.date.fromisoformat(key) for key in context.partition_keys)


def range_tags(first: dt.date, last: dt.date) -> dict[str, str]:
    """The tags by which one run covers a range of days."""
    return {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
