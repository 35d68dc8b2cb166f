"""Assets of the feature timelines: one per declared view."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from crm_platform.contracts import Contract
from crm_platform.defs.days import SINGLE_RUN, YESTERDAY
from crm_platform.defs.landing import OWNERS
from crm_platform.defs.platform import CODE_VERSION, Platform
from crm_platform.defs.report import lineage, over_covered_days
from crm_platform.features.build import BuildReport, build_features, stale_from
from crm_platform.features.catalogue import BoundView, views_for
from crm_platform.sources import Manifest

GROUP = "features"


def feature_assets(
    manifest: Manifest, contracts: Mapping[str, Contract], days: dg.PartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """The feature timelines that this CRM's roles allow."""
    return [_timeline(manifest, bound, days) for bound in views_for(manifest, contracts).values()]


def _timeline(manifest: Manifest, bound: BoundView, days: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    read = [["history", name] for name in dict.fromkeys([bound.entity, bound.activity]) if name]
    left_out = "".join(f"\n- `{name}`: {why}" for name, why in bound.left_out.items())

    @dg.asset(
        key=["features", bound.name],
        deps=[
            *(dg.AssetDep(key) for key in [*read, ["history", "merges"]]),
            dg.AssetDep(["features", bound.name], partition_mapping=YESTERDAY),
        ],
        partitions_def=days,
        backfill_policy=SINGLE_RUN,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"delta", "polars"},
        code_version=CODE_VERSION,
        dagster_type=dg.Nothing,  # pyright: ignore[reportArgumentType]  Dagster types it as None
        pool=f"features_{bound.name}",
        description=(
            f"Every moment at which a feature of a {bound.name} changes, as it became known. Any backward as-of join on "
            f"known_at gives the exact value." + (f"\n\nLeft out for this CRM:{left_out}" if left_out else "")
        ),
        metadata={
            "dagster/column_lineage": lineage(
                {
                    feature: [(["history", object_name], column) for object_name, column in sources]
                    for feature, sources in bound.lineage.items()
                }
            )
        },
    )
    def timeline(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
        lake = platform.lake(context.run.run_id)

        def build(days: Sequence[dt.date], watermark: dt.datetime) -> BuildReport:
            return build_features(
                lake,
                manifest,
                platform.contracts,
                bound,
                days,
                watermark=watermark,
                first_day=platform.first,
                progress=context.log.info,
            )

        def stale(watermark: dt.datetime) -> dt.date | None:
            return stale_from(lake, platform.contracts, bound, watermark=watermark)

        yield from over_covered_days(context, lake, platform.first, build, stale)

    return timeline
