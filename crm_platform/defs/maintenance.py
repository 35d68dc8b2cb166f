"""Upkeep of the lake: closed days are compacted, logs checkpointed, unpinned old files vacuumed."""

from typing import Any

import dagster as dg

from crm_platform.defs.landing import OWNERS
from crm_platform.defs.platform import Platform
from crm_platform.features.training import pinned_versions
from crm_platform.lake import maintain
from crm_platform.landing import watermark


@dg.asset(
    key=["maintenance"],
    group_name="maintenance",
    owners=OWNERS,
    kinds={"delta"},
    description=(
        "Compacts the files of closed days in order, checkpoints the logs, and removes files that no version within the "
        "retention and no training manifest needs. Content never changes."
    ),
)
def maintenance(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[Any]:
    """Tends every table once."""
    lake = platform.lake(context.run.run_id)
    reached = watermark(lake)
    if reached is None:
        return dg.MaterializeResult(metadata={"tables": 0})
    report = maintain(lake, before=reached.date(), pinned=pinned_versions(lake), progress=context.log.info)
    return dg.MaterializeResult(
        metadata={
            "tables": len(report.tables),
            "files_before": report.files_before,
            "files_after": report.files_after,
            "removed": report.removed,
        }
    )
