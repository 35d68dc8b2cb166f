"""What landing holds of one object, as history reads it: changes, snapshots, keys in doubt; and what history refuses.

Reads and writes tables, decides nothing: which days are read is `build`'s question, what they come to `derive`'s answer.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

import polars as pl

from crm_platform.contracts import QUARANTINE, Contract
from crm_platform.history.derive import Told
from crm_platform.history.errors import SnapshotError
from crm_platform.history.reconcile import Snapshot
from crm_platform.history.versions import CONFLICT, IDENTITY, WINNERLESS
from crm_platform.lake import Lake, fingerprint

DAYS_AT_ONCE = 10
"""Of how many days the snapshots are read together."""


def landed_changes(lake: Lake, contract: Contract, days: Sequence[date]) -> pl.LazyFrame:
    """The changes of an object that were recorded on some days, in the contract's change columns."""
    return lake.scan(f"landing/changes/{contract.object}", days=days, schema=contract.change_schema)


def landed_snapshots(lake: Lake, contract: Contract, days: Sequence[date], watermark: datetime) -> Iterator[Told]:
    """The snapshots of some days that the feed has caught up with, in order.

    Raises:
        SnapshotError: A day holds rows of several exports.
    """
    table = f"landing/snapshot/{contract.object}"
    landed = dates(lake.days(table))
    wanted = [day for day in landed if day in set(days)]
    scanned = lake.scan(table, days=wanted, schema=contract.snapshot_schema)
    for some in (wanted[n : n + DAYS_AT_ONCE] for n in range(0, len(wanted), DAYS_AT_ONCE)):
        read = scanned.filter(pl.col("snapshot_date").is_in(some)).collect()
        for day in some:
            rows = read.filter(pl.col("snapshot_date") == day)
            snapshot = _snapshot(table, day, rows)
            if day == landed[0] or snapshot.finished_at <= watermark:
                yield Told(snapshot, rows.select("entity_id", *contract.columns), is_first=day == landed[0])


def unresolved(lake: Lake, object_name: str) -> pl.DataFrame:
    """entity_id and processed_date of the object's rows that wait in quarantine."""
    rows = lake.scan(f"quarantine/{object_name}", schema=QUARANTINE).filter(pl.col("resolved_by").is_null())
    return rows.select("entity_id", "processed_date").collect()


def dates(parts: Sequence[object]) -> list[date]:
    """Those of a table's partitions that are days."""
    return [day for day in parts if isinstance(day, date)]


def quarantine_rejected(lake: Lake, contract: Contract, rejected: pl.DataFrame) -> int:
    """Adds what no version can be made of to the quarantine, each delivery once; returns how many changes there are."""
    if rejected.is_empty():
        return 0
    name = contract.object
    days = rejected.get_column("processed_date").unique().to_list()
    table = f"quarantine/{name}"
    held = lake.scan(table, days=days, schema=QUARANTINE).filter(pl.col("rule").is_in([CONFLICT, WINNERLESS]))
    broken = (
        landed_changes(lake, contract, days)
        .join(rejected.lazy().select(*IDENTITY, "rule").unique(), on=IDENTITY, how="inner")
        .sort("_ingested_at", "_batch_id")
        .unique([*IDENTITY, "rule", "_payload"], keep="first", maintain_order=True)
        .rename({"_payload": "payload"})
        .join(held, on=[*IDENTITY, "rule", "payload"], how="anti")
        .with_columns(pl.lit(None, pl.String).alias("column"), pl.lit(None, pl.String).alias("resolved_by"))
        .select(list(QUARANTINE))
        .collect()
    )
    lake.append(table, broken, token=f"history/{name}:{fingerprint(broken)}")
    return rejected.height


def _snapshot(table: str, day: date, rows: pl.DataFrame) -> Snapshot:
    taken = rows.select("started_at", "finished_at", "_complete", "_batch_id").unique()
    if taken.height != 1:
        raise SnapshotError.several(table, day, taken.height)
    started_at, finished_at, is_complete, batch_id = taken.row(0)
    return Snapshot(day, started_at, finished_at, is_complete, batch_id, rows.get_column("_ingested_at").item(0))
