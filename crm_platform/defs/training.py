"""The training sets' asset, with its manifest and the score of a small baseline model beside a leaky one."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from crm_platform.contracts import Contract
from crm_platform.defs.days import ONCE_A_NIGHT
from crm_platform.defs.platform import Platform
from crm_platform.defs.report import column_schema, shown
from crm_platform.defs.tables import asset_of, read_by, table_spec
from crm_platform.features.baseline import BaselineError, BaselineReport, baseline
from crm_platform.features.catalogue import BoundView, views_for
from crm_platform.features.lineage import Sources, with_fields
from crm_platform.features.recipes import TrainingError
from crm_platform.features.shapes import training_meaning, training_schema
from crm_platform.features.training import MANIFEST, TrainingSet, build_training_set, stored_set
from crm_platform.lake import Lake
from crm_platform.landing import explained, watermark
from crm_platform.sources import Manifest

GROUP = "training"


def training_assets(
    manifest: Manifest, contracts: Mapping[str, Contract], sources: Mapping[str, Sources]
) -> list[dg.AssetsDefinition]:
    """The training sets that the manifest declares."""
    views = views_for(manifest, contracts)
    homeless = {name: spec.object for name, spec in manifest.training.items() if spec.object not in views}
    for name, canonical in homeless.items():
        raise TrainingError.homeless(name, canonical, manifest.name)
    return [
        _training_set(manifest, contracts, name, views[spec.object], sources)
        for name, spec in manifest.training.items()
    ]


def _training_set(
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    name: str,
    bound: BoundView,
    sources: Mapping[str, Sources],
) -> dg.AssetsDefinition:
    told = manifest.training[name]
    table, timeline, history = f"training/{name}", f"features/{bound.name}", f"history/{bound.entity}"
    spec = table_spec(
        table,
        group=GROUP,
        description=(
            f"One row per {told.object} and week while it is open: its features as known then, and whether its "
            f"{told.column} became {told.value!r} within {told.horizon.days} days. Kept under the hash of all it came from."
        ),
        columns=column_schema(
            training_schema(bound, contracts),
            meaning=with_fields(training_meaning(bound, contracts), manifest, sources, table),
        ),
        sources=sources[table],
        deps=[
            dg.AssetDep(read.split("/"), partition_mapping=dg.AllPartitionMapping())
            for read in (timeline, history, "history/merges")
        ],
        kinds={"parquet", "polars", "scikitlearn"},
        due=ONCE_A_NIGHT,
        code=[build_training_set, baseline],
    )

    @asset_of(spec)
    def training(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        if reached is None:
            context.log.warning("nothing has landed yet: no training set can be built")
            return dg.MaterializeResult(metadata={"dagster/row_count": 0})
        lacking = [read for read in (timeline, history) if not lake.exists(read)]
        if lacking:
            context.log.warning("%s is not built yet, red days may hold it back: no training set", ", ".join(lacking))
            return dg.MaterializeResult(metadata={"dagster/row_count": 0})
        with explained(lake, read_by(spec)):
            report = build_training_set(lake, manifest, name, watermark=reached, progress=context.log.info)
        facts: dict[str, Any] = {
            "dagster/row_count": report.manifest.rows,
            "id": report.manifest.id,
            "path": dg.MetadataValue.path(str(report.path)),
            "manifest": dg.MetadataValue.json(json.loads((report.path / MANIFEST).read_text(encoding="utf-8"))),
            "baseline": dg.MetadataValue.md(scores_of(lake, stored_set(lake, name, report.manifest.id))),
        }
        return dg.MaterializeResult(metadata=facts | shown({"watermark": reached, "is_new": report.is_new}))

    return training


def scores_of(lake: Lake, found: TrainingSet) -> str:
    """The two scores as a table, or why there are none: a set too small to score is still a training set."""
    try:
        return scores(baseline(lake, found))
    except BaselineError as refused:
        return str(refused)


def scores(report: BaselineReport) -> str:
    """What the same model scores with honest and with leaky features, as a Markdown table."""
    honest, leaky = report.point_in_time, report.leaky
    apart = (
        f"{report.purged_rows:,} rows whose outcome reaches into the test were left out."
        if report.is_purged
        else "The days are too few to leave out rows whose outcome reaches into the test: both scores flatter."
    )
    return "\n".join(
        [
            f"Trained on {report.train_rows:,} rows before {report.split_at:%Y-%m-%d}, scored on {report.test_rows:,} later ones. {apart}",
            "",
            "| features | AUC | average precision |",
            "|---|---|---|",
            f"| as known when asked | {honest.auc:.3f} | {honest.average_precision:.3f} |",
            f"| leaky: as known at the end | {leaky.auc:.3f} | {leaky.average_precision:.3f} |",
        ]
    )
