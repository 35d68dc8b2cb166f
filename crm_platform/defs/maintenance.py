"""Upkeep of the lake: closed days are compacted, logs checkpointed, unpinned old files vacuumed."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from crm_platform.defs.days import ONCE_A_NIGHT
from crm_platform.defs.platform import Platform
from crm_platform.defs.tables import asset_of, table_spec
from crm_platform.features.training import pinned_versions
from crm_platform.lake import maintain
from crm_platform.landing import explained, watermark

GROUP = "upkeep"


def maintenance_asset(last: Iterable[dg.AssetKey]) -> dg.AssetsDefinition:
    """The upkeep of all tables, once those that nothing else is made of are written."""
    spec = table_spec(
        "maintenance",
        group=GROUP,
        description=(
            "Compacts the files of closed days in order, checkpoints the logs, and removes files that no version within "
            "the retention and no training manifest needs. Content never changes."
        ),
        deps=[dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping()) for key in last],
        kinds={"delta"},
        due=ONCE_A_NIGHT,
        code=[maintain],
    )

    @asset_of(spec)
    def maintenance(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        if reached is None:
            context.log.warning("nothing has landed yet: there is nothing to tend")
            return dg.MaterializeResult(metadata={"tables_rewritten": 0})
        unreadable: list[str] = []
        pinned = pinned_versions(lake, unreadable.append)
        for what in unreadable:
            context.log.warning(what)
        with explained(lake, lake.tables()):
            report = maintain(lake, before=reached.date(), pinned=pinned, progress=context.log.info)
        return dg.MaterializeResult(
            metadata={
                "tables_rewritten": len(report.tables),
                "files_before": report.files_before,
                "files_after": report.files_after,
                "removed": report.removed,
                "unreadable_manifests": len(unreadable),
            }
        )

    return maintenance
