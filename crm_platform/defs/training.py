"""The training sets' asset, with its manifest and the score of a small baseline model beside a leaky one."""

import datetime as dt
from typing import Any

import dagster as dg

from crm_platform.defs.landing import OWNERS
from crm_platform.defs.platform import CODE_VERSION, Platform
from crm_platform.defs.report import shown
from crm_platform.features.baseline import baseline_report
from crm_platform.features.training import build_training_set
from crm_platform.landing import watermark
from crm_platform.sources import Manifest

GROUP = "training"


def training_assets(manifest: Manifest) -> list[dg.AssetsDefinition]:
    """The training sets that the manifest declares."""
    return [_training_set(manifest, name) for name in manifest.training]


def _training_set(manifest: Manifest, name: str) -> dg.AssetsDefinition:
    spec = manifest.training[name]
    read = [["features", spec.object], ["history", str(manifest.object_of(spec.object))], ["history", "merges"]]

    @dg.asset(
        key=["training", name],
        deps=[dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping()) for key in read],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"parquet", "polars", "scikitlearn"},
        code_version=CODE_VERSION,
        pool=f"training_{name}",
        description=(
            f"One row per {spec.object} and week while it is open: its features as known then, and whether its "
            f"{spec.column} became {spec.value!r} within {spec.horizon.days} days. Kept under the hash of all it came from."
        ),
    )
    def training(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[None]:
        lake = platform.lake(context.run_id)
        reached = watermark(lake)
        if reached is None:
            context.log.warning("nothing has landed yet: no training set can be built")
            return dg.MaterializeResult(metadata={"dagster/row_count": 0})
        report = build_training_set(lake, manifest, name, watermark=reached, progress=context.log.info)
        facts: dict[str, Any] = {
            "dagster/row_count": report.manifest.rows,
            "id": report.manifest.id,
            "path": dg.MetadataValue.path(str(report.path)),
            "manifest": dg.MetadataValue.json(report.manifest.as_json()),
            "baseline": dg.MetadataValue.md(baseline_report(lake, manifest, name).as_markdown()),
        }
        return dg.MaterializeResult(metadata=facts | shown({"watermark": reached, "is_new": report.is_new}))

    return training


