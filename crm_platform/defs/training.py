"""The training sets' asset, with its manifest and the score of a small baseline model beside a leaky one."""

import json
from typing import Any

import dagster as dg

from crm_platform.defs.landing import OWNERS
from crm_platform.defs.platform import CODE_VERSION, Platform
from crm_platform.defs.report import shown
from crm_platform.features.baseline import BaselineError, BaselineReport, baseline
from crm_platform.features.training import MANIFEST, build_training_set, training_set
from crm_platform.lake import Lake
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
    def training(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        if reached is None:
            context.log.warning("nothing has landed yet: no training set can be built")
            return dg.MaterializeResult(metadata={"dagster/row_count": 0})
        report = build_training_set(lake, manifest, name, watermark=reached, progress=context.log.info)
        facts: dict[str, Any] = {
            "dagster/row_count": report.manifest.rows,
            "id": report.manifest.id,
            "path": dg.MetadataValue.path(str(report.path)),
            "manifest": dg.MetadataValue.json(json.loads((report.path / MANIFEST).read_text(encoding="utf-8"))),
            "baseline": dg.MetadataValue.md(scores_of(lake, name)),
        }
        return dg.MaterializeResult(metadata=facts | shown({"watermark": reached, "is_new": report.is_new}))

    return training


def scores_of(lake: Lake, name: str) -> str:
    """The two scores as a table, or why there are none: a set too small to score is still a training set."""
    try:
        return scores(baseline(lake, training_set(lake, name)))
    except BaselineError as refused:
        return str(refused)


def scores(report: BaselineReport) -> str:
    """What the same model scores with honest and with leaky features, as a Markdown table."""
    honest, leaky = report.point_in_time, report.leaky
    return "\n".join(
        [
            f"Trained on {report.train_rows:,} rows before {report.split_at:%Y-%m-%d}, scored on {report.test_rows:,} later ones.",
            "",
            "| features | AUC | average precision |",
            "|---|---|---|",
            f"| as known when asked | {honest.auc:.3f} | {honest.average_precision:.3f} |",
            f"| leaky: as known at the end | {leaky.auc:.3f} | {leaky.average_precision:.3f} |",
        ]
    )
