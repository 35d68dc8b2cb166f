"""The demo's graph without Dagster: the same functions, in the same order and the same months, as a script would call them.

What a run of Dagster does around them (events, metadata, pictures, pools) is what `costs` measures beside this.
"""

import sys
from pathlib import Path

from crm_platform.defs.checklist import WHOLE_PAST, checklist
from crm_platform.defs.platform import Platform
from crm_platform.defs.rebuilding import plan_of
from crm_platform.defs.settings import load_settings
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.history.build import build_current, build_history, build_merges
from crm_platform.history.windows import before_red
from crm_platform.lake import hold, release
from crm_platform.landing import covered_days, land_changes, land_snapshot, watermark
from crm_platform.quality.differences import drift_of
from crm_platform.quality.drift import values_before
from crm_platform.quality.schemas import recorder


def land(platform):
    """Lands the whole feed, and an export of every object for every day; goes on where it was cut off."""
    lake, manifest, contracts = platform.lake(), platform.manifest, platform.contracts
    with platform.connected() as source:
        land_changes(lake, source, manifest, contracts)
        for name in manifest.objects:
            for day in lacking(platform, name):
                contract = contracts[name]
                drift = drift_of(contract, values_before(lake, contract, day))
                land_snapshot(lake, source, manifest, contract, day, drift=drift, record=recorder(lake, contract))


def lacking(platform, name):
    """The covered days on which no row of an object's export lies; an empty export leaves none, and is asked for again."""
    lake = platform.lake()
    table, reached = f"landing/snapshot/{name}", watermark(lake)
    there = set(lake.days(table)) if lake.exists(table) else set()
    return [day for day in covered_days(platform.days_until(reached), reached) if day not in there]


def rebuild(platform):
    """Derives every covered day, month after month, and asks every check of what it derives."""
    manifest, contracts = platform.manifest, platform.contracts
    views = views_for(manifest, contracts)
    declared = [
        one
        for one in checklist(manifest, contracts)
        if one.table.split("/")[0] in {"history", "current", "features"} and one.name != WHOLE_PAST
    ]
    plan = plan_of(platform, platform.first, None)
    for begin, end in plan.pieces:
        days = [day for day in plan.days if begin <= day <= end]
        lake = platform.lake()
        reached = watermark(lake)
        for name in manifest.objects:
            build_history(lake, manifest, contracts, name, days, watermark=reached, first_day=platform.first)
            check(platform, declared, f"history/{name}", days)
        build_merges(lake, manifest, contracts, days, first_day=platform.first)
        check(platform, declared, "history/merges", days)
        for name in manifest.objects:
            build_current(lake, manifest, contracts, name, watermark=reached)
            check(platform, declared, f"current/{name}", days)
        for bound in views.values():
            build_features(lake, manifest, contracts, bound, days, watermark=reached, first_day=platform.first)
            check(platform, declared, f"features/{bound.name}", days)


def check(platform, declared, table, days):
    """Asks every check of a table, and keeps the gate as they found it."""
    for one in declared:
        if one.table != table:
            continue
        lake = platform.lake()
        reached = watermark(lake)
        asked = days if one.by_day else platform.days_until(reached)
        looked_at = before_red(lake, covered_days(asked, reached), one.waits_for)
        result = one.ask(platform, lake, looked_at)
        if one.gates and one.by_day:
            failed = {found.day: found.what for found in result.findings if not found.passed}
            for day, what in failed.items():
                hold(lake, table, day, one.name, what)
            release(lake, table, [day for day in looked_at if day not in {*failed, *result.unjudged}], one.name)


if __name__ == "__main__":
    rebuild(Platform.from_settings(load_settings(Path(sys.argv[1]))))
