"""Where history is not what landing comes to: days never built, and days that something landed for afterwards.

Reads the lake, writes nothing. What is done about a stale day is the asset's question.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import polars as pl

from crm_platform import landing
from crm_platform.contracts import Contract
from crm_platform.history.carried import carried_versions, midnight
from crm_platform.history.claims import Claim, claim_of, code_of
from crm_platform.history.derive import Rules, Told, chunks, compared, deciding_columns, looks_back_to, rules_of
from crm_platform.history.errors import UnbuiltDayError
from crm_platform.history.landed import dates, landed_changes, landed_snapshots, unresolved
from crm_platform.history.reconcile import Snapshot
from crm_platform.history.versions import IDENTITY, versions_from
from crm_platform.lake import Lake, changed_days, lost_files
from crm_platform.sources import Manifest


def stale_from(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    object_name: str,
    *,
    before: date | None = None,
    watermark: datetime | None = None,
) -> date | None:
    """The earliest day whose history is not what its landed changes and snapshots come to; None if all are.

    A day whose files cannot be read is not, and nothing from there on is looked at. Otherwise only days that the table's
    claim does not answer for are read: those whose files have changed since, and snapshots that a change before them may
    have made to tell something else. Without a claim, or with one by other rules, all.

    Args:
        lake: Where to look.
        manifest: What the CRM declares.
        contracts: Its contracts, by object.
        object_name: The object.
        before: Only days before this one are looked at; None for all that something landed for.
        watermark: Up to where the feed has landed; None for what landing says.
    """
    rules = rules_of(manifest, contracts[object_name])
    doubted = _doubted(lake, rules, _valid_claim(lake, rules))
    lost = _lost_days(lake, object_name)
    end = min([*lost, date.max if before is None else before])
    changes, snapshots = ([day for day in sorted(found) if day < end] for found in doubted)
    lacking = _lacking(lake, rules, changes, lost) if changes else {}
    unlike = _first_unlike(lake, rules, snapshots, watermark or landing.watermark(lake)) if snapshots else None
    return min([*lacking, *lost, *([] if unlike is None else [unlike])], default=None)


def claimed(lake: Lake, rules: Rules, since: datetime, watermark: datetime) -> tuple[Claim, datetime] | None:
    """What history claims of the days before a moment, and up to when that holds of what has landed by now.

    None where it holds of nothing.
    """
    name = rules.contract.object
    found, lost = _valid_claim(lake, rules), _lost_days(lake, name)
    claim = Claim(inputs_of(lake, name), since, by_rules(rules)) if found is None else found[0]
    end = min([since, *map(midnight, lost)])
    changes, snapshots = ([day for day in days if midnight(day) < end] for days in _doubted(lake, rules, found))
    lacking = _lacking(lake, rules, changes, lost) if changes else {}
    unlike = _first_unlike(lake, rules, sorted(snapshots), watermark) if snapshots else None
    stale = [*lacking, *lost, *([] if unlike is None else [unlike])]
    holds = min([midnight(day) for day in stale], default=claim.until)
    return (claim, holds) if found is not None or holds >= since else None


def inputs_of(lake: Lake, object_name: str) -> dict[str, int | None]:
    """The versions of all that an object's history is derived from."""
    rooms = ("landing/changes", "landing/snapshot", "quarantine")
    return {f"{room}/{object_name}": lake.version(f"{room}/{object_name}") for room in rooms}


def by_rules(rules: Rules) -> str:
    """What stands for the declarations and the code that an object's history is derived by."""
    manifest, contract = rules.manifest, rules.contract
    spec = [manifest.spec(contract.object).model_dump_json(), manifest.inferred_delete_limit.model_dump_json()]
    types = [f"{name} {dtype}" for name, dtype in contract.change_schema.items()]
    told = [*spec, rules.knowledge, str(rules.settling_lag), *types, code_of(("history",))]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


def _valid_claim(lake: Lake, rules: Rules) -> tuple[Claim, int] | None:
    found = claim_of(lake, f"history/{rules.contract.object}")
    return None if found is None or found[0].rules != by_rules(rules) else found


def _doubted(lake: Lake, rules: Rules, found: tuple[Claim, int] | None) -> tuple[set[date], set[date]]:
    """The days of changes and of snapshots that a claim does not answer for."""
    name = rules.contract.object
    landed, taken = (set(dates(lake.days(f"landing/{room}/{name}"))) for room in ("changes", "snapshot"))
    if found is None:
        return landed, taken
    claim, said = found
    own = f"history/{name}"
    moved = {table: changed_days(lake, table, claim.inputs.get(table), lake.version(table)) for table in claim.inputs}
    moved[own] = changed_days(lake, own, said, lake.version(own))
    if any(days is None for days in moved.values()):
        return landed, taken
    since = claim.until.date()
    anew = {table: set(days or []) for table, days in moved.items()}
    changes = landed & (anew[f"landing/changes/{name}"] | anew[own]) | {day for day in landed if day >= since}
    before = anew[f"landing/changes/{name}"] | anew[f"quarantine/{name}"] | anew[own]
    first = min(before, default=since)
    return changes, {day for day in taken if day >= first or day >= since} | (taken & anew[f"landing/snapshot/{name}"])


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
    for day, changes in _lacking(lake, rules, suspects, _lost_days(lake, name)).items() if suspects else ():
        raise UnbuiltDayError.before(f"history/{name}", day, first, changes)


def _lost_days(lake: Lake, object_name: str) -> list[date]:
    """The days of an object's history of which a file cannot be read. Costs a look at every file: ask once."""
    return sorted(set(dates([file.part for file in lost_files(lake, f"history/{object_name}")])))


def _lacking(lake: Lake, rules: Rules, days: Sequence[date], lost: Sequence[date]) -> dict[date, int]:
    """How many versions history lacks, or has too many of, on the days where it does; by day, in order.

    Nothing of the `lost` days is read.
    """
    contract = rules.contract
    table = f"history/{contract.object}"
    made = versions_from(
        landed_changes(lake, contract, days),
        contract,
        lists_losers=rules.list_column is not None,
        knowledge=rules.knowledge,
        past=lake.scan(table, without=lost, schema=contract.history_schema),
    )
    history = lake.scan(table, days=days, schema=contract.history_schema)
    lacks = made.kept.join(history, on=IDENTITY, how="anti")
    has = made.rejected.join(history, on=IDENTITY, how="semi").drop("rule")
    found = pl.concat([lacks, has]).group_by("processed_date").len().sort("processed_date").collect()
    return dict(found.iter_rows())


def _first_unlike(lake: Lake, rules: Rules, days: Sequence[date], watermark: datetime | None) -> date | None:
    """The earliest day whose snapshot has told nothing yet, or would tell something else now."""
    contract = rules.contract
    table = f"history/{contract.object}"
    told = iter(()) if watermark is None else landed_snapshots(lake, contract, days, watermark)
    carried, in_doubt = carried_versions(lake, contract, lake.version(table)), unresolved(lake, contract.object)
    opening: Told | None = None
    last: Snapshot | None = None
    for chunk in chunks(told):
        last = chunk[-1].snapshot
        if chunk[0].is_first:
            opening = chunk[0]
            continue
        known = carried.since(looks_back_to(chunk, rules), last.day).filter(
            pl.col("processed_time") <= last.finished_at
        )
        found = compared(known.select(deciding_columns(contract)).collect(), chunk, rules, in_doubt)
        unlike = next((one.snapshot.day for one in found if not one.versions.is_empty()), None)
        if unlike is not None:
            return unlike if opening is None else min(unlike, _unopened(lake, contract, opening, last) or unlike)
    return None if opening is None or last is None else _unopened(lake, contract, opening, last)


def _unopened(lake: Lake, contract: Contract, opening: Told, last: Snapshot) -> date | None:
    """The day of the first snapshot, where it is not the one that history was opened by, as far as the last one told."""
    history = lake.scan(f"history/{contract.object}", schema=contract.history_schema).filter(
        pl.col("processed_date") <= last.day, pl.col("processed_time") <= last.finished_at
    )
    heard = history.filter(pl.col("operation") == "snapshot").select(pl.col("processed_date").unique()).collect()
    is_open = heard.get_column("processed_date").to_list() == [opening.snapshot.day] or opening.rows.is_empty()
    return None if is_open else opening.snapshot.day
