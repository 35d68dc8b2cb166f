"""What landing holds of one object, as history reads it: changes, snapshots, keys in doubt; and what history refuses.

Reads and writes tables, decides nothing: which days are read is `build`'s question, what they come to `derive`'s answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

import polars as pl

from crm_platform.contracts import QUARANTINE, Contract
from crm_platform.history.derive import Told
from crm_platform.history.errors import SnapshotError
from crm_platform.history.reconcile import Snapshot
from crm_platform.history.versions import CONFLICT, IDENTITY, WINNERLESS
from crm_platform.lake import Lake, Part, fingerprint

OF_EXPORT = ("started_at", "finished_at", "_complete", "_batch_id", "_ingested_at")
"""What every row of a snapshot says of the export that told it."""

ROWS_AT_ONCE = 300_000
"""How many rows of snapshots are read together, about; a day that has more is read alone."""


def landed_changes(lake: Lake, contract: Contract, days: Sequence[date]) -> pl.LazyFrame:
    """The changes of an object that were recorded on some days, in the contract's change columns."""
    return lake.scan(f"landing/changes/{contract.object}", days=days, schema=contract.change_schema)


def landed_snapshots(lake: Lake, contract: Contract, days: Sequence[date], watermark: datetime) -> Iterator[Told]:
    """The snapshots of some days that the feed has caught up with, in order.

    Raises:
        SnapshotError: A day holds rows of several exports.
    """
    table = f"landing/snapshot/{contract.object}"
    rows_of = lake.rows_by_day(table)
    landed = dates(list(rows_of))
    wanted = [day for day in landed if day in set(days)]
    scanned = lake.scan(table, days=wanted, schema=contract.snapshot_schema).select(
        "snapshot_date", *OF_EXPORT, "entity_id", *contract.columns
    )
    for some in _together(wanted, rows_of):
        read = scanned.filter(pl.col("snapshot_date").is_in(some)).collect()
        for day in some:
            rows = read.filter(pl.col("snapshot_date") == day)
            snapshot = _snapshot(table, day, rows)
            if day == landed[0] or snapshot.finished_at <= watermark:
                yield Told(snapshot, rows.select("entity_id", *contract.columns), is_first=day == landed[0])


def _together(days: Sequence[date], rows_of: Mapping[Part, int]) -> Iterator[list[date]]:
    held: list[date] = []
    for day in days:
        if held and sum(rows_of[one] for one in held) + rows_of[day] > ROWS_AT_ONCE:
            yield held
            held = []
        held.append(day)
    if held:
        yield held


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
    taken = rows.select(OF_EXPORT[:-1]).unique()
    if taken.height != 1:
        raise SnapshotError.several(table, day, taken.height)
    started_at, finished_at, is_complete, batch_id = taken.row(0)
    return Snapshot(day, started_at, finished_at, is_complete, batch_id, rows.get_column("_ingested_at").item(0))
