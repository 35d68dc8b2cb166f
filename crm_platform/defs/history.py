"""Assets of the bitemporal history: versions per object, merge facts, and the tables of what lives now."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from crm_platform.contracts import MERGES, Contract
from crm_platform.contracts.envelope import PROVENANCE_COLUMNS, VERSION_COLUMNS
from crm_platform.defs.days import SINGLE_RUN, YESTERDAY
from crm_platform.defs.landing import OWNERS
from crm_platform.defs.platform import CODE_VERSION, Platform
from crm_platform.defs.report import column_schema, lineage, over_covered_days
from crm_platform.history.build import BuildReport, build_current, build_history, build_merges
from crm_platform.history.staleness import stale_from
from crm_platform.landing import watermark
from crm_platform.sources import Manifest

GROUP = "history"


def history_assets(
    manifest: Manifest, contracts: Mapping[str, Contract], days: dg.PartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """History, merges and current tables of one CRM."""
    wanted = {name: contracts[name] for name in manifest.objects}
    return [
        *(_history(manifest, contract, days) for contract in wanted.values()),
        _merges(manifest, days),
        *(_current(contract) for contract in wanted.values()),
    ]


def _history(manifest: Manifest, contract: Contract, days: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    name = contract.object
    changes = ["landing", "changes", name]
    deps = [dg.AssetDep(changes), dg.AssetDep(["history", name], partition_mapping=YESTERDAY)]
    if manifest.has_snapshots:
        deps.insert(1, dg.AssetDep(["landing", "snapshot", name]))
    from_landing = [*VERSION_COLUMNS, *contract.columns, *PROVENANCE_COLUMNS]

    @dg.asset(
        key=["history", name],
        deps=deps,
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"delta", "polars"},
        code_version=CODE_VERSION,
        dagster_type=dg.Nothing,  # pyright: ignore[reportArgumentType]  Dagster types it as None
        pool=f"history_{name}",
        description=f"Every version of every {name}, as it became known: both time axes, deletes and merges included.",
        metadata={
            "dagster/column_schema": column_schema(contract.history_schema, contract),
            "dagster/column_lineage": lineage({column: [(changes, column)] for column in from_landing}),
        },
    )
    def history(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
        lake = platform.lake(context.run.run_id)

        def build(days: Sequence[dt.date], watermark: dt.datetime) -> BuildReport:
            return build_history(
                lake,
                manifest,
                platform.contracts,
                name,
                days,
                watermark=watermark,
                first_day=platform.first,
                progress=context.log.info,
            )

        def stale(watermark: dt.datetime) -> dt.date | None:
            return stale_from(lake, manifest, platform.contracts, name, watermark=watermark)

        yield from over_covered_days(context, lake, platform.first, build, stale)

    return history


def _merges(manifest: Manifest, days: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=["history", "merges"],
        deps=[["history", name] for name in manifest.objects],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"delta", "polars"},
        code_version=CODE_VERSION,
        dagster_type=dg.Nothing,  # pyright: ignore[reportArgumentType]  Dagster types it as None
        pool="history_merges",
        description="Every merge and unmerge as a fact of its own: loser, winner, and both times.",
        metadata={"dagster/column_schema": column_schema(MERGES)},
    )
    def merges(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
        lake = platform.lake(context.run.run_id)

        def build(days: Sequence[dt.date], watermark: dt.datetime) -> BuildReport:
            del watermark
            return build_merges(
                lake, manifest, platform.contracts, days, first_day=platform.first, progress=context.log.info
            )

        yield from over_covered_days(context, lake, platform.first, build, lambda _: platform.first)

    return merges


def _current(contract: Contract) -> dg.AssetsDefinition:
    name = contract.object
    history = ["history", name]

    @dg.asset(
        key=["current", name],
        deps=[dg.AssetDep(history, partition_mapping=dg.AllPartitionMapping())],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"delta", "polars"},
        code_version=CODE_VERSION,
        pool=f"current_{name}",
        description=f"Every living {name} as known at the watermark, in the CRM's own columns, for plain SQL.",
        metadata={
            "dagster/column_schema": column_schema(contract.current_schema, contract),
            "dagster/column_lineage": lineage({column: [(history, column)] for column in contract.columns}),
        },
    )
    def current(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        if reached is None:
            context.log.warning("nothing has landed yet: the current table is left as it is")
            return dg.MaterializeResult(metadata={"dagster/row_count": 0})
        report = build_current(lake, platform.manifest, platform.contracts, name, watermark=reached)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": lake.rows(report.table),
                "delta_version": report.version or 0,
                "watermark": dg.MetadataValue.timestamp(reached),
            }
        )

    return current
