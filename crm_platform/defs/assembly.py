"""Puts a code location together: assets, checks, jobs, sensors and schedules of one CRM, from its settings."""

from collections.abc import Mapping

import dagster as dg
from dagster_duckdb import DuckDBResource

from crm_platform.contracts import contracts_in
from crm_platform.defs.alerts_sensor import alerts_sensor
from crm_platform.defs.checklist import WHOLE_PAST, checklist
from crm_platform.defs.checks import check_of
from crm_platform.defs.code import on_host
from crm_platform.defs.days import partitions_of
from crm_platform.defs.features import feature_assets
from crm_platform.defs.fresh import kept_fresh
from crm_platform.defs.gate import gate_asset, gate_changed, gate_job, mended_days
from crm_platform.defs.history import history_assets
from crm_platform.defs.jobs import jobs, monthly_leakage, new_changes, nightly_snapshots
from crm_platform.defs.landing import landing_assets
from crm_platform.defs.maintenance import maintenance_asset
from crm_platform.defs.platform import Platform, manifest_of
from crm_platform.defs.rebuilding import late_data, rebuild_window_job
from crm_platform.defs.settings import Settings
from crm_platform.defs.training import training_assets
from crm_platform.defs.waiting import mend_pools
from crm_platform.features.lineage import column_sources

LAST = ("current", "features", "training")
"""The rooms of tables after which a night's work is done."""


def build_defs(settings: Settings, *, loggers: Mapping[str, dg.LoggerDefinition] | None = None) -> dg.Definitions:
    """The definitions of the CRM that the settings name; opens no connection, no table and no environment."""
    mend_pools()
    manifest = manifest_of(settings.source)
    contracts = contracts_in(manifest.contracts)
    days = partitions_of(settings)
    sources = column_sources(manifest, contracts)
    tables = [
        *landing_assets(manifest, contracts, days),
        *history_assets(manifest, contracts, days, sources),
        *feature_assets(manifest, contracts, days, sources),
        *training_assets(manifest, contracts, sources),
    ]
    last = [key for made in tables for key in made.keys if key.path[0] in LAST]
    declared = checklist(manifest, contracts)
    apart = [
        dg.AssetCheckKey(dg.AssetKey(one.table.split("/")), one.name) for one in declared if one.name == WHOLE_PAST
    ]
    schedules = [late_data, monthly_leakage, *([nightly_snapshots] if manifest.has_snapshots else [])]
    assets = on_host([*tables, maintenance_asset(last), gate_asset(last)], settings.code)
    return dg.Definitions(
        assets=dg.map_asset_specs(
            lambda spec: kept_fresh(spec.replace_attributes(owners=list(settings.owners)), settings, manifest), assets
        ),
        asset_checks=[check_of(one, days, settings.runbook) for one in declared],
        jobs=[
            *jobs(has_snapshots=manifest.has_snapshots, apart=apart),
            gate_job(),
            rebuild_window_job(lambda made: build_defs(settings, loggers=made)),
        ],
        sensors=[new_changes, alerts_sensor(settings.alerts, settings.runbook), gate_changed, mended_days],
        schedules=schedules,
        resources={"platform": Platform.from_settings(settings), "duckdb": DuckDBResource(database=":memory:")},
        executor=dg.in_process_executor,
        loggers=loggers,
    )
