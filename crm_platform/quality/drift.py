"""The check of exports: what landed and what was kept, held against the contract of today and the exports before.

What differs is found in `differences`, what was delivered on which day in `schemas`; who stops for it is decided where
exports land, by the contract's policies.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Literal

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.landing import kept_days
from crm_platform.landing.exports import parts_of
from crm_platform.landing.snapshots import kept_export
from crm_platform.quality.differences import Drift, drift_of
from crm_platform.quality.renames import Before, nothing_before
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.schemas import (
    changes_between,
    expected,
    fingerprint_of,
    firsts_of,
    held_against,
    history_of,
    schemas_by_day,
)
from crm_platform.quality.traces import shown_by_rows, shown_by_schema, waiting_for, waiting_rows
from crm_platform.sources import Manifest

REMEDY = (
    "Compatible differences need no haste: add the column or value to the contract, or give it another policy. "
    "Otherwise change the contract and land the kept file, ask the CRM for the old shape and export the day again, "
    "or skip the day with `crm-platform snapshot skip DAY --object OBJECT`."
)


def landed_drift(lake: Lake, manifest: Manifest, contract: Contract, days: Sequence[date]) -> CheckResult:
    """The check of an object's exports: those that landed though they differ, and those kept because they could not.

    Each day shows the columns expected and found, and what changed since the last export that landed; the summary shows
    all schemas there have been.

    Args:
        lake: Where exports land, or are kept.
        manifest: What the CRM is.
        contract: The object's contract.
        days: The days looked at; one without an export gives no finding.

    Raises:
        ExportUnreadableError: A kept file is broken.
    """
    table = f"landing/snapshot/{contract.object}"
    wanted, waiting = set(days), waiting_rows(lake, contract, sorted(days))
    schemas = schemas_by_day(lake, contract.object)
    firsts = firsts_of(schemas)
    rows = {day: rows for day, rows in lake.rows_by_day(table).items() if isinstance(day, date)}
    found = {day: list(drifts) for day, drifts in shown_by_rows(lake, contract, sorted(wanted & rows.keys())).items()}
    for day, count in waiting.group_by("processed_date").len().iter_rows():
        rows[day] = rows.get(day, 0) + count
    on_file = set(rows)
    for day, drift in waiting_for(contract, waiting):
        found.setdefault(day, []).append(drift)
    for day in sorted(wanted & on_file & schemas.keys()):
        told = {(drift.column, drift.kind) for drift in found.setdefault(day, [])}
        by_schema = shown_by_schema(contract, schemas[day], day, firsts)
        found[day] += [drift for drift in by_schema if (drift.column, drift.kind) not in told]
    landed = {day: list(map(_past_stopping, drifts)) for day, drifts in found.items()}
    for day in sorted(wanted.intersection(kept_days(lake, contract.object)).difference(landed)):
        export = kept_export(lake, contract.object, day)
        parts = [] if export is None else parts_of(export, manifest)
        compared = drift_of(contract, values_before(lake, contract, day))
        landed[day] = list(dict.fromkeys(drift for part in parts for drift in compared(part.delivered)))
        rows[day] = sum(part.delivered.height for part in parts)
    result = drift_check(contract, landed, rows)
    findings = [replace(f, facts=_beside(contract, schemas, on_file, f.day)) for f in result.findings]
    facts: dict[str, object] = {"schemas": history_of(schemas)} if schemas else {}
    return replace(result, findings=findings, facts=facts)


def values_before(lake: Lake, contract: Contract, day: date) -> Before:
    """What the last export that landed before a day held in a column, read when it is asked for."""
    table = f"landing/snapshot/{contract.object}"
    last = max((other for other in lake.days(table) if isinstance(other, date) and other < day), default=None)
    if last is None:
        return nothing_before
    return lambda name: (
        lake.scan(table, days=[last], schema=contract.snapshot_schema)
        .select(pl.col("entity_id").alias("key"), pl.col(name).alias("value"))
        .collect()
    )


def drift_check(
    contract: Contract, drifts: Mapping[date, Sequence[Drift]], rows: Mapping[date, int] | None = None
) -> CheckResult:
    """The check's answer: an error for days whose export must not land, else a warning for days that differ.

    What the contract lets evolve is told, and no failure.

    Args:
        contract: What was expected.
        drifts: By day, how the export differed.
        rows: By day, how many rows were exported.
    """
    must_stop = any(_stops(found) for found in drifts.values())
    fails = _stops if must_stop else _is_said
    findings = [_finding(day, found, (rows or {}).get(day, 0), fails) for day, found in sorted(drifts.items())]
    severity: Literal["warn", "error"] = "error" if must_stop else "warn"
    return CheckResult("schema_drift", f"landing/snapshot/{contract.object}", findings, REMEDY, severity)


def _past_stopping(drift: Drift) -> Drift:
    """A difference of an export that has landed stops it no more: policies of today do not undo it."""
    return drift if drift.is_compatible else replace(drift, policy="warn")


def _beside(
    contract: Contract, schemas: Mapping[date, pl.DataFrame], landed: Collection[date], day: date | None
) -> dict[str, object]:
    """What is shown of a day whether it passed or not: its columns, and what is new since the last good export."""
    if day is None or day not in schemas:
        return {}
    told: dict[str, object] = {
        "fingerprint": fingerprint_of(schemas[day]),
        "columns": held_against(expected(contract), schemas[day]),
    }
    good = max((other for other in schemas if other < day and other in landed), default=None)
    if good is not None:
        new = changes_between(schemas[good], schemas[day])
        told[f"since_{good}"] = "no column has changed" if new.is_empty() else new
    return told


def _is_said(drifts: Sequence[Drift]) -> bool:
    return any(drift.policy != "evolve" for drift in drifts)


def _stops(drifts: Sequence[Drift]) -> bool:
    return any(not drift.is_compatible for drift in drifts)


def _finding(day: date, drifts: Sequence[Drift], rows: int, fails: Callable[[Sequence[Drift]], bool]) -> Finding:
    if not drifts:
        return Finding(passed=True, what="The export keeps the contract.", day=day, total=rows)
    shown = pl.DataFrame(
        [(d.column, d.kind, d.expected, d.found, d.policy) for d in drifts[:MOST_EXAMPLES]],
        schema=["column", "difference", "expected", "found", "policy"],
        orient="row",
    )
    more = f", and {len(drifts) - 1} more" if len(drifts) > 1 else ""
    failed = fails(drifts)
    what = f"{drifts[0]}{more}."
    showing = max(rows if drift.rows is None else drift.rows for drift in drifts)
    return Finding(not failed, what, day=day, failing=showing if failed else 0, total=rows, examples=shown)
