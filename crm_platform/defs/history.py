"""Assets of the bitemporal history: versions per object, merge facts, and the tables of what lives now."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from crm_platform.contracts import MERGES, Contract
from crm_platform.defs.days import YESTERDAY
from crm_platform.defs.platform import Platform
from crm_platform.defs.report import column_schema
from crm_platform.defs.tables import Asked, asset_of, built_by_day, read_by, table_spec
from crm_platform.features.lineage import Sources
from crm_platform.history.build import build_current, build_history, build_merges, merges_stale_from
from crm_platform.history.report import BuildReport
from crm_platform.history.staleness import stale_from
from crm_platform.landing import explained, watermark
from crm_platform.sources import Manifest

GROUP = "history"
OF_MERGES = {
    "object": "Which object's entities were merged.",
    "loser_id": "The entity that goes on as another.",
    "winner_id": "The other one; null for an unmerge.",
}


def history_assets(
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    days: dg.PartitionsDefinition,
    sources: Mapping[str, Sources],
) -> list[dg.AssetsDefinition]:
    """History, merges and current tables of one CRM."""
    wanted = {name: contracts[name] for name in manifest.objects}
    return [
        *(_history(manifest, contract, days, sources) for contract in wanted.values()),
        _merges(manifest, days, sources),
        *(_current(contract, sources) for contract in wanted.values()),
    ]


def _history(
    manifest: Manifest, contract: Contract, days: dg.PartitionsDefinition, sources: Mapping[str, Sources]
) -> dg.AssetsDefinition:
    name = contract.object
    table, changes, snapshot = f"history/{name}", f"landing/changes/{name}", f"landing/snapshot/{name}"
    landed = [changes, *([snapshot] if manifest.has_snapshots else [])]
    spec = table_spec(
        table,
        group=GROUP,
        description=f"Every version of every {name}, as it became known: both time axes, deletes and merges included.",
        columns=column_schema(contract.history_schema, contract),
        sources=sources[table],
        deps=[*(each.split("/") for each in landed), dg.AssetDep(table.split("/"), partition_mapping=YESTERDAY)],
        days=days,
        code=[contract.model, build_history],
    )

    def build(asked: Asked, days: Sequence[dt.date]) -> BuildReport:
        return build_history(
            asked.lake,
            manifest,
            asked.contracts,
            name,
            days,
            watermark=asked.watermark,
            first_day=asked.first_day,
            progress=asked.tell,
        )

    def stale(asked: Asked, before: dt.date) -> dt.date | None:
        return stale_from(asked.lake, manifest, asked.contracts, name, before=before, watermark=asked.watermark)

    return built_by_day(spec, build, stale, late_in=[table])


def _merges(manifest: Manifest, days: dg.PartitionsDefinition, sources: Mapping[str, Sources]) -> dg.AssetsDefinition:
    table = "history/merges"
    histories = [f"history/{name}" for name in manifest.objects]
    spec = table_spec(
        table,
        group=GROUP,
        description="Every merge and unmerge as a fact of its own: loser, winner, and both times.",
        columns=column_schema(MERGES, meaning=OF_MERGES),
        sources=sources[table],
        deps=[history.split("/") for history in histories],
        days=days,
        code=[build_merges],
    )

    def build(asked: Asked, days: Sequence[dt.date]) -> BuildReport:
        return build_merges(asked.lake, manifest, asked.contracts, days, first_day=asked.first_day, progress=asked.tell)

    return built_by_day(spec, build, lambda asked, _: merges_stale_from(asked.lake, manifest), late_in=[table])


def _current(contract: Contract, sources: Mapping[str, Sources]) -> dg.AssetsDefinition:
    name = contract.object
    history = f"history/{name}"
    spec = table_spec(
        f"current/{name}",
        group=GROUP,
        description=f"Every living {name} as known at the watermark, in the CRM's own columns, for plain SQL.",
        columns=column_schema(contract.current_schema, contract),
        sources=sources[f"current/{name}"],
        deps=[
            dg.AssetDep(read.split("/"), partition_mapping=dg.AllPartitionMapping())
            for read in (history, "history/merges")
        ],
        code=[contract.model, build_current],
    )

    @asset_of(spec)
    def current(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        if reached is None:
            context.log.warning("nothing has landed yet: the current table is left as it is")
            return dg.MaterializeResult(metadata={"dagster/row_count": 0})
        with explained(lake, read_by(spec)):
            report = build_current(lake, platform.manifest, platform.contracts, name, watermark=reached)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": lake.rows(report.table),
                "delta_version": report.version or 0,
                "watermark": dg.MetadataValue.timestamp(reached),
            }
        )

    return current
