"""Assets that land what the CRM says: the change stream of all objects at once, and one bulk export per object and day."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from crm_platform.contracts import Contract
from crm_platform.defs.days import SINGLE_RUN, days_of
from crm_platform.defs.over_time import with_picture
from crm_platform.defs.platform import Platform
from crm_platform.defs.report import column_schema, landing_lag, written
from crm_platform.defs.tables import asset_of, table_spec
from crm_platform.landing import (
    DriftError,
    covered_days,
    explained,
    land_changes,
    land_snapshot,
    landed_facts,
    watermark,
)
from crm_platform.quality.differences import drift_of
from crm_platform.quality.drift import values_before
from crm_platform.quality.schemas import recorder
from crm_platform.sources import Manifest, now

GROUP = "landing"


def landing_assets(
    manifest: Manifest, contracts: Mapping[str, Contract], days: dg.PartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """The landing tables of one CRM."""
    wanted = {name: contracts[name] for name in manifest.objects}
    snapshots = [_snapshot(manifest, contract, days) for contract in wanted.values()] if manifest.has_snapshots else []
    return [_changes(manifest, wanted, days), *snapshots]


def _changes(
    manifest: Manifest, contracts: Mapping[str, Contract], days: dg.PartitionsDefinition
) -> dg.AssetsDefinition:
    specs = [
        table_spec(
            f"landing/changes/{name}",
            group=GROUP,
            description=f"Every change of {name}, as {manifest.title} delivered it, with its provenance.",
            columns=column_schema(contract.change_schema, contract),
            days=days,
            code=[contract.model, land_changes],
        )
        for name, contract in contracts.items()
    ]

    @dg.multi_asset(specs=specs, name="landing_changes", backfill_policy=SINGLE_RUN, pool="landing_changes")
    def changes(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
        """Follows the change feed from where the last batch ended up to the end of the last day asked for."""
        lake, wanted = platform.lake(context.run.run_id), days_of(context)
        with platform.connected() as source:
            report = land_changes(
                lake,
                source,
                manifest,
                contracts,
                until=dt.datetime.combine(wanted[-1] + dt.timedelta(days=1), dt.time(), dt.UTC),
                progress=context.log.info,
            )
            reached = report.watermark
            behind = None if reached is None else max(now(manifest, source) - reached, dt.timedelta(0))
        covered = covered_days(wanted, watermark(lake))
        for output in context.op_execution_context.selected_output_names:
            key = context.asset_key_for_output(output)
            facts = landed_facts(lake, key.path[-1], covered)
            told = {day: facts[day] | {"watermark": reached, "behind": behind} for day in covered}
            yield from written(key, with_picture(context.instance, key, told))

    return changes


def _snapshot(manifest: Manifest, contract: Contract, days: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    spec = table_spec(
        f"landing/snapshot/{contract.object}",
        group=GROUP,
        description=f"Every living {contract.object} as a bulk export showed it at the end of the day.",
        columns=column_schema(contract.snapshot_schema, contract),
        days=days,
        code=[contract.model, land_snapshot],
    )

    @asset_of(spec)
    def snapshot(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
        lake = platform.lake(context.run.run_id)
        told: dict[dt.date, dict[str, Any]] = {}
        with platform.connected() as source:
            for day in days_of(context):
                try:
                    with explained(lake, ["/".join(spec.key.path)]):
                        report = land_snapshot(
                            lake,
                            source,
                            manifest,
                            contract,
                            day,
                            drift=drift_of(contract, values_before(lake, contract, day)),
                            record=recorder(lake, contract),
                            progress=context.log.info,
                        )
                except DriftError as drifted:  # the day stays out; its check turns it red, the other days go on
                    context.log.warning(str(drifted))
                    continue
                if report.landed:
                    told[day] = report.facts
        late = landing_lag(lake, contract.object, list(told))
        days_told = {day: facts | late.get(day, {}) for day, facts in told.items()}
        yield from written(spec.key, with_picture(context.instance, spec.key, days_told))

    return snapshot
