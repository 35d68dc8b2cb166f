"""Assets of the feature timelines: one per declared view."""

import datetime as dt
from collections.abc import Mapping, Sequence

import dagster as dg

from crm_platform.contracts import Contract
from crm_platform.defs.days import YESTERDAY
from crm_platform.defs.over_time import DRIFT
from crm_platform.defs.report import column_schema
from crm_platform.defs.tables import Asked, Facts, built_by_day, table_spec
from crm_platform.features.build import BuildReport, build_features, stale_from
from crm_platform.features.catalogue import BoundView, views_for
from crm_platform.features.lineage import Sources, with_fields
from crm_platform.features.shapes import timeline_meaning, timeline_schema
from crm_platform.lake import Lake
from crm_platform.quality.feature_drift import feature_drift
from crm_platform.sources import Manifest

GROUP = "features"


def feature_assets(
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    days: dg.PartitionsDefinition,
    sources: Mapping[str, Sources],
) -> list[dg.AssetsDefinition]:
    """The feature timelines that this CRM's roles allow."""
    return [_timeline(manifest, contracts, bound, days, sources) for bound in views_for(manifest, contracts).values()]


def _timeline(
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    bound: BoundView,
    days: dg.PartitionsDefinition,
    sources: Mapping[str, Sources],
) -> dg.AssetsDefinition:
    histories = [f"history/{name}" for name in dict.fromkeys([bound.entity, bound.activity]) if name]
    left_out = "".join(f"\n- `{name}`: {why}" for name, why in bound.left_out.items())
    table = f"features/{bound.name}"
    schema = timeline_schema(bound, contracts)
    spec = table_spec(
        table,
        group=GROUP,
        description=(
            f"Every moment at which a feature of any {bound.name} changes, as it became known. Any backward as-of join on "
            f"known_at gives the exact value." + (f"\n\nLeft out for this CRM:{left_out}" if left_out else "")
        ),
        columns=column_schema(
            schema,
            contracts[bound.entity],
            with_fields(timeline_meaning(bound, contracts), manifest, sources, table),
        ),
        sources=sources[table],
        deps=[
            *(dg.AssetDep(read.split("/")) for read in [*histories, "history/merges"]),
            dg.AssetDep(table.split("/"), partition_mapping=YESTERDAY),
        ],
        days=days,
        code=[views_for, contracts[bound.entity].model, build_features],
    )

    def build(asked: Asked, days: Sequence[dt.date]) -> BuildReport:
        return build_features(
            asked.lake,
            manifest,
            asked.contracts,
            bound,
            days,
            watermark=asked.watermark,
            first_day=asked.first_day,
            progress=asked.tell,
        )

    def stale(asked: Asked, _: dt.date) -> dt.date | None:
        return stale_from(asked.lake, asked.contracts, bound, watermark=asked.watermark)

    def moved(lake: Lake, days: Sequence[dt.date]) -> Facts:
        found = feature_drift(lake, table, schema, days)
        return {day: {DRIFT: by_feature} for day, by_feature in found.items()}

    return built_by_day(spec, build, stale, late_in=histories, seen_in=moved)
