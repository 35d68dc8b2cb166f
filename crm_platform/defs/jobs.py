"""Jobs, schedules and sensors: what starts runs, and how often at most.

A cursor says what was requested; what landed is in the lake. Nothing here can request without bound: the same offset
asks once, a schedule asks once a night.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg

from crm_platform.defs.days import range_tags
from crm_platform.defs.platform import Platform
from crm_platform.landing import landed_offset, watermark
from crm_platform.sources import now

EVERYTHING = "everything"
INCREMENT = "increment"
REBUILD = "rebuild"
NIGHTLY = "nightly_snapshots"
WHOLE_PAST_JOB = "leakage_whole_past"

CHANGES = dg.AssetSelection.groups("landing") & dg.AssetSelection.key_prefixes(["landing", "changes"])
SNAPSHOTS = dg.AssetSelection.key_prefixes(["landing", "snapshot"])
DERIVED = dg.AssetSelection.groups("history", "features")
TRAINING = dg.AssetSelection.groups("training")
UPKEEP = dg.AssetSelection.groups("upkeep")


def derived_from(objects: Sequence[str]) -> dg.AssetSelection:
    """The histories of some objects, and all that is derived from them."""
    return dg.AssetSelection.assets(*(dg.AssetKey(["history", name]) for name in objects)).downstream() & DERIVED


def jobs(*, has_snapshots: bool, apart: Sequence[dg.AssetCheckKey]) -> list[Any]:
    """The jobs of one CRM.

    Args:
        has_snapshots: Whether it can be exported.
        apart: The checks that read everything: no build asks them, a job of their own does.
    """
    without = dg.AssetSelection.checks(*apart)
    found = [
        dg.define_asset_job(
            EVERYTHING, dg.AssetSelection.all() - without, description="The whole graph over a range of days."
        ),
        dg.define_asset_job(
            INCREMENT, (CHANGES | DERIVED) - without, description="What is new in the feed, and what follows from it."
        ),
        dg.define_asset_job(
            REBUILD, DERIVED - without, description="History and features derived again from what landed."
        ),
        dg.define_asset_job(
            WHOLE_PAST_JOB,
            without,
            description="All of the features' past, cut at every start of a month; builds nothing.",
        ),
    ]
    if has_snapshots:
        found.append(
            dg.define_asset_job(
                NIGHTLY,
                (SNAPSHOTS | DERIVED | TRAINING | UPKEEP) - without,
                description="A bulk export of every object, held against the stream; training sets; upkeep of the lake.",
            )
        )
    return found


@dg.sensor(
    job_name=INCREMENT,
    minimum_interval_seconds=30,
    description="Asks the CRM how far its change feed reaches, and requests one run per new range.",
)
def new_changes(context: dg.SensorEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """One run per new range of offsets; a range is requested once, whatever became of it."""
    with platform.connected() as source:
        head = source.head()
    lake = platform.lake()
    landed, reached = landed_offset(lake), watermark(lake)
    if landed == head.offset and reached is not None and reached >= head.time:
        return dg.SkipReason(f"Nothing new: offset {head.offset} has landed, up to {reached.isoformat()}.")
    asked = f"{landed or 'start'}..{head.offset}@{head.time.isoformat()}"
    if context.cursor == asked:
        return dg.SkipReason(f"The range {asked} was requested already; see its run.")
    context.update_cursor(asked)
    first = platform.first if reached is None else max(platform.first, reached.date())
    last = head.time.date() if platform.last is None else min(head.time.date(), platform.last)
    return dg.RunRequest(run_key=asked, tags={**range_tags(min(first, last), last), "crm/offsets": asked})


@dg.schedule(
    job_name=NIGHTLY,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    description="A snapshot of the day that has just ended by the source's clock.",
)
def nightly_snapshots(platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Requests the last day that is over where exports can be dated, else today, once."""
    with platform.connected() as source:
        moment = now(platform.manifest, source)
    ended = moment.date() - dt.timedelta(days=1) if platform.manifest.has_dated_exports else moment.date()
    day = ended if platform.last is None else min(ended, platform.last)
    if day < platform.first:
        return dg.SkipReason(f"No day is over yet: the source's clock shows {moment.isoformat()}.")
    return dg.RunRequest(
        run_key=f"snapshot-{day}", tags=range_tags(day, max(day, min(moment.date(), platform.last or day)))
    )


@dg.schedule(
    job_name=WHOLE_PAST_JOB,
    cron_schedule="0 4 2 * *",
    execution_timezone="UTC",
    description="The features' past as a whole, once a month: was any of it known too early?",
)
def monthly_leakage(platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Requests all covered days as one range, once per month that has begun by the watermark."""
    reached = watermark(platform.lake())
    if reached is None:
        return dg.SkipReason("Nothing has landed yet.")
    days = platform.days_until(reached)
    if not days:
        return dg.SkipReason(f"No day is covered yet: the watermark is {reached.isoformat()}.")
    return dg.RunRequest(run_key=f"leakage-{days[-1]:%Y-%m}", tags=range_tags(days[0], days[-1]))
