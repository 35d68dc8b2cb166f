"""Where history is not what landing comes to: days never built, and days that something landed for afterwards.

Reads the lake, writes nothing. What is done about a stale day is the asset's question.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl

from crm_platform import landing
from crm_platform.contracts import Contract
from crm_platform.history.derive import Rules, compared, deciding_columns, rules_of
from crm_platform.history.errors import UnbuiltDayError
from crm_platform.history.landed import dates, landed_changes, landed_snapshots, unresolved
from crm_platform.history.versions import IDENTITY, versions_from
from crm_platform.lake import Lake
from crm_platform.sources import Manifest


def stale_from(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    object_name: str,
    days: Sequence[date] | None = None,
    *,
    watermark: datetime | None = None,
) -> date | None:
    """The earliest day whose history is not what its landed changes and snapshots come to; None if all are.

    Args:
        lake: Where to look.
        manifest: What the CRM declares.
        contracts: Its contracts, by object.
        object_name: The object.
        days: Where to look; None for all days that something landed for.
        watermark: Up to where the feed has landed; None for what landing says.
    """
    rules = rules_of(manifest, contracts[object_name])
    held = {day for hop in ("changes", "snapshot") for day in dates(lake.days(f"landing/{hop}/{object_name}"))}
    looked_at = sorted(held if days is None else held.intersection(days))
    if not looked_at:
        return None
    found = [*_lacking(lake, rules, looked_at), *_unlike(lake, rules, looked_at, watermark or landing.watermark(lake))]
    return min(found, default=None)


def refuse_unbuilt(lake: Lake, rules: Rules, first: date) -> None:
    """Refuses to build from a day on where an earlier one was never built.

    Raises:
        UnbuiltDayError: Names the earliest such day, and how many versions it lacks.
    """
    name = rules.contract.object
    built = set(lake.days(f"history/{name}"))
    first_snapshot = {day: rows for day, rows in lake.rows_by_day(f"landing/snapshot/{name}").items() if rows}
    opening = min(dates(list(first_snapshot)), default=None)
    if opening is not None and opening < first and opening not in built:
        raise UnbuiltDayError.before(f"history/{name}", opening, first, first_snapshot[opening])
    suspects = [day for day in dates(lake.days(f"landing/changes/{name}")) if day < first and day not in built]
    for day, changes in _lacking(lake, rules, suspects).items() if suspects else ():
        raise UnbuiltDayError.before(f"history/{name}", day, first, changes)


def _lacking(lake: Lake, rules: Rules, days: Sequence[date]) -> dict[date, int]:
    """How many versions history lacks, or has too many of, on the days where it does; by day, in order."""
    contract = rules.contract
    table = f"history/{contract.object}"
    made = versions_from(
        landed_changes(lake, contract, days),
        contract,
        lists_losers=rules.list_column is not None,
        knowledge=rules.knowledge,
        past=lake.scan(table, schema=contract.history_schema),
    )
    history = lake.scan(table, days=days, schema=contract.history_schema)
    lacks = made.kept.join(history, on=IDENTITY, how="anti")
    has = made.rejected.join(history, on=IDENTITY, how="semi").drop("rule")
    found = pl.concat([lacks, has]).group_by("processed_date").len().sort("processed_date").collect()
    return dict(found.iter_rows())


def _unlike(lake: Lake, rules: Rules, days: Sequence[date], watermark: datetime | None) -> list[date]:
    """The days of snapshots that have told nothing yet, or would tell something else now."""
    contract = rules.contract
    told = [] if watermark is None else list(landed_snapshots(lake, contract, days, watermark))
    if not told:
        return []
    last = told[-1].snapshot
    history = lake.scan(f"history/{contract.object}", schema=contract.history_schema).filter(
        pl.col("processed_date") <= last.day, pl.col("processed_time") <= last.finished_at
    )
    later = [one for one in told if not one.is_first]
    pool = history.select(deciding_columns(contract)).collect()
    found = compared(pool, later, rules, unresolved(lake, contract.object)) if later else ()
    unlike = [one.snapshot.day for one in found if not one.versions.is_empty()]
    if told[0].is_first:
        heard = history.filter(pl.col("operation") == "snapshot").select(pl.col("processed_date").unique()).collect()
        opened = heard.get_column("processed_date").to_list() == [told[0].snapshot.day] or told[0].rows.is_empty()
        unlike += [] if opened else [told[0].snapshot.day]
    return unlike
