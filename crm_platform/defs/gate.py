"""The gate as an asset: which partitions are red, and the sensors that show it and let mended days go on.

A build stops before a red day by itself; what is red is written by the checks and kept in the lake.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any

import dagster as dg

from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import DERIVED, REBUILD
from crm_platform.defs.platform import Platform
from crm_platform.defs.report import table
from crm_platform.defs.tables import asset_of, table_spec
from crm_platform.lake import mendings, red_partitions
from crm_platform.landing import watermark
from crm_platform.quality.red import TABLE, nothing_red

GROUP = "gate"
WATCH = "whats_red"
GATE = dg.AssetSelection.groups(GROUP)


def gate_asset(last: Iterable[dg.AssetKey]) -> dg.AssetsDefinition:
    """All red partitions on one page, once those tables are written that nothing else is made of."""
    spec = table_spec(
        TABLE,
        group=GROUP,
        description="Which partitions are red, by which check, since when: what to look at first. Checks write it.",
        deps=[dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping()) for key in last],
        kinds={"delta"},
        code=[nothing_red],
    )

    @asset_of(spec)
    def gate(platform: Platform) -> dg.MaterializeResult[Any]:
        lake = platform.lake()
        (found,) = nothing_red(lake).findings
        told: dict[str, Any] = {"red_partitions": len(red_partitions(lake)), "what": found.what}
        if found.examples is not None:
            told["red"] = dg.MetadataValue.md(table(found.examples))
        return dg.MaterializeResult(metadata=told)

    return gate


def gate_job() -> Any:
    """Shows what is red, and nothing else."""
    return dg.define_asset_job(WATCH, GATE, description="What is red, on one page; asked whenever the gate changes.")


@dg.sensor(job_name=WATCH, minimum_interval_seconds=30, description="Shows what is red whenever the gate has changed.")
def gate_changed(context: dg.SensorEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """One run per change of the gate."""
    version = platform.lake().version(TABLE)
    if version is None or context.cursor == str(version):
        return dg.SkipReason("The gate is as it was.")
    context.update_cursor(str(version))
    return dg.RunRequest(run_key=f"gate-{version}")


@dg.sensor(
    job_name=REBUILD,
    minimum_interval_seconds=30,
    description="Builds the days that waited for a red one, once a check has seen it mended: one run per mending.",
)
def mended_days(context: dg.SensorEvaluationContext, platform: Platform) -> dg.RunRequest | dg.SkipReason:
    """Requests the days that tables lack after something was mended; a mending asks once, whatever became of it."""
    lake = platform.lake()
    mended = str(mendings(lake))
    if context.cursor in {mended, None} and mended == (context.cursor or "0"):
        context.update_cursor(mended)
        return dg.SkipReason("Nothing was mended since the last tick.")
    context.update_cursor(mended)
    covered = platform.days_until(watermark(lake))
    lacking = _lacking(context, covered)
    if not lacking:
        return dg.SkipReason("What was mended is built already.")
    return dg.RunRequest(run_key=f"mended-{mended}-{lacking[0]}", tags=range_tags(lacking[0], covered[-1]))


def _lacking(context: dg.SensorEvaluationContext, covered: list[dt.date]) -> list[dt.date]:
    """The covered days that some of the tables built by day lack."""
    graph = context.repository_def.asset_graph if context.repository_def else None
    if graph is None:
        return []
    by_day = [key for key in DERIVED.resolve(graph) if graph.get(key).partitions_def is not None]
    built = [context.instance.get_materialized_partitions(key) for key in by_day]
    return [day for day in covered if any(day.isoformat() not in days for days in built)]
