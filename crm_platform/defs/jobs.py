"""Jobs, schedules and sensors: what starts runs, and how often at most.

A cursor says what was requested; what landed is in the lake. Nothing here can request without bound: the same offset
asks once, a schedule asks once a night.
"""

import datetime as dt
import json
from collections.abc import Iterator

import dagster as dg

from crm_platform.defs.days import range_tags
from crm_platform.defs.platform import Platform
from crm_platform.lake import Lake, red_partitions
from crm_platform.landing import landed_offset, watermark
from crm_platform.sources import now

EVERYTHING = "everything"
INCREMENT = "increment"
NIGHTLY = "nightly_snapshots"
FAILED_CHECKS_SHOWN = 20

CHANGES = dg.AssetSelection.groups("landing") & dg.AssetSelection.key_prefixes(["landing", "changes"])
SNAPSHOTS = dg.AssetSelection.key_prefixes(["landing", "snapshot"])
DERIVED = dg.AssetSelection.groups("history", "features")
TRAINING = dg.AssetSelection.groups("training")


def jobs(*, has_snapshots: bool) -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs of one CRM."""
    found = [
        dg.define_asset_job(EVERYTHING, dg.AssetSelection.all(), description="The whole graph over a range of days."),
        dg.define_asset_job(
            INCREMENT, CHANGES | DERIVED, description="What is new in the feed, and what follows from it."
        ),
    ]
    if has_snapshots:
        found.append(
            dg.define_asset_job(
                NIGHTLY,
                SNAPSHOTS | DERIVED | TRAINING,
                description="A bulk export of every object, held against the stream, and the training sets.",
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
def nightly_snapshots(context: dg.ScheduleEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Requests the last day that is over where exports can be dated, else today, once."""
    with platform.connected() as source:
        moment = now(platform.manifest, source)
    ended = moment.date() - dt.timedelta(days=1) if platform.manifest.has_dated_exports else moment.date()
    day = ended if platform.last is None else min(ended, platform.last)
    if day < platform.first:
        return dg.SkipReason(f"No day is over yet: the source's clock shows {moment.isoformat()}.")
    return dg.RunRequest(run_key=f"snapshot-{day}", tags=range_tags(day, max(day, min(moment.date(), platform.last or day))))


@dg.sensor(
    minimum_interval_seconds=60,
    description="Tells of partitions that have become red since the last tick, grouped, at most twenty.",
)
def failed_checks(context: dg.SensorEvaluationContext, platform: Platform) -> dg.SensorResult | dg.SkipReason:
    """Says what is newly red and what is well again; requests nothing."""
    known = set(map(tuple, json.loads(context.cursor or "[]")))
    red = {(one.asset, one.day.isoformat(), one.check) for one in red_partitions(platform.lake())}
    context.update_cursor(json.dumps(sorted(red)))
    lines = [f"RED {asset} {day}: {check}" for asset, day, check in sorted(red - known)]
    lines += [f"well again {asset} {day}: {check}" for asset, day, check in sorted(known - red)]
    if not lines:
        return dg.SkipReason(f"No news; {len(red)} partitions are red.")
    for line in lines[:FAILED_CHECKS_SHOWN]:
        context.log.error(line) if line.startswith("RED") else context.log.info(line)
    more = len(lines) - FAILED_CHECKS_SHOWN
    return dg.SkipReason("; ".join(lines[:FAILED_CHECKS_SHOWN]) + (f"; and {more} more" if more > 0 else ""))
