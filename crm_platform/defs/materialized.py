"""The newest materialization of each of some days, as Dagster's event log has it."""

import datetime as dt
from collections.abc import Collection

import dagster as dg


def newest(
    instance: dg.DagsterInstance, asset_key: dg.AssetKey, days: Collection[dt.date]
) -> dict[dt.date, dg.EventLogRecord]:
    """By day, the record of its newest materialization; days that have none are left out."""
    wanted = {day.isoformat() for day in days}
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    ids = instance.get_latest_storage_id_by_partition(asset_key, kind, wanted) if wanted else {}
    if not ids:
        return {}
    chosen = dg.AssetRecordsFilter(asset_key=asset_key, storage_ids=sorted(ids.values()))
    records = instance.fetch_materializations(chosen, limit=len(ids)).records
    return {dt.date.fromisoformat(str(record.partition_key)): record for record in records}
