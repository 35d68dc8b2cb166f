"""Whether history at the moment of a snapshot is what the snapshot shows, and what the stream had lost until then."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.history.derive import Told, chunks, compared, deciding_columns, rules_of
from crm_platform.history.landed import landed_snapshots, unresolved
from crm_platform.history.reconcile import Reconciled
from crm_platform.lake import Lake
from crm_platform.landing import watermark
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.sources import Manifest

LIMIT_REMEDY = (
    "More rows are missing from the snapshot than the manifest's inferred_delete_limit allows, so nothing was inferred. "
    "If they are really gone, raise the limit for this build; if the export was cut short, take a dated one again, "
    "or skip the day with `crm-platform snapshot skip DAY --object OBJECT`."
)
DIFFERS_REMEDY = "Rebuild history from the day on: `crm-platform rebuild --from DAY`."


def reconciliation(lake: Lake, manifest: Manifest, contract: Contract, days: Sequence[date]) -> CheckResult:
    """Compares history with every snapshot of the days, keys that are quarantined or changed around it aside.

    Args:
        lake: Where both stand.
        manifest: What the CRM declares.
        contract: The object's contract.
        days: The days looked at; those without a snapshot give no finding, nor those after one that lacks too much.

    Returns:
        A finding per snapshot; `facts` counts what all of them repaired and took for deleted: the stream's loss.
    """
    rules = rules_of(manifest, contract)
    table = f"history/{contract.object}"
    reached = watermark(lake)
    told = landed_snapshots(lake, contract, days, reached) if reached else iter(())
    history = lake.scan(table, schema=contract.history_schema).select(
        "processed_date", *(name for name in deciding_columns(contract) if name != "processed_date")
    )
    in_doubt = unresolved(lake, contract.object)
    findings: list[Finding] = []
    repaired: list[pl.DataFrame] = []
    over = False
    for chunk in chunks(told):
        if chunk[0].is_first:
            findings.append(_first(chunk[0]))
            continue
        last = chunk[-1].snapshot
        by_then = (pl.col("processed_date") <= last.day) & (pl.col("processed_time") <= last.finished_at)
        pool = history.filter(by_then).select(deciding_columns(contract)).collect()
        for found in compared(pl.concat([pool, *repaired]), chunk, rules, in_doubt):
            findings.append(_finding(found))
            repaired.append(found.versions.select(pool.columns))
            over = found.is_over_limit
            if over:
                break
        if over:
            break
    versions = lake.scan(table, days=days, schema=contract.history_schema)
    lost = dict(versions.group_by("operation").len().collect().iter_rows())
    facts: dict[str, object] = {kind: lost.get(kind, 0) for kind in ("repair", "inferred_delete")}
    return CheckResult("reconciliation", table, findings, LIMIT_REMEDY if over else DIFFERS_REMEDY, facts=facts)


def _first(told: Told) -> Finding:
    rows = told.rows.height
    return Finding(passed=True, what=f"The first snapshot told {rows} entities.", day=told.snapshot.day, total=rows)


def _finding(found: Reconciled) -> Finding:
    snapshot, counts = found.snapshot, found.counts
    wrong = counts["repair"] + counts["inferred_delete"]
    if found.is_over_limit:
        what = (
            f"{counts['withheld']} of {counts['living']} living entities are missing from the snapshot, over the limit."
        )
        shown, failing, total = _shown(found, "withheld"), counts["withheld"], counts["living"]
        return Finding(passed=False, what=what, day=snapshot.day, failing=failing, total=total, examples=shown)
    if wrong:
        what = f"{wrong} entities differ from the snapshot of {snapshot.finished_at:%Y-%m-%d %H:%M}."
        shown = _shown(found, "repair", "inferred_delete")
        return Finding(passed=False, what=what, day=snapshot.day, failing=wrong, total=counts["rows"], examples=shown)
    aside = f", {counts['left_out']} left out as they changed meanwhile" if counts["left_out"] else ""
    what = f"History equals the snapshot in {counts['equal']} entities{aside}."
    return Finding(passed=True, what=what, day=snapshot.day, total=counts["rows"])


def _shown(found: Reconciled, *kinds: str) -> pl.DataFrame:
    rows = [(entity_id, kind) for kind in kinds for entity_id in found.examples.get(kind, [])]
    return pl.DataFrame(rows[:MOST_EXAMPLES], schema={"entity_id": pl.String, "kind": pl.String}, orient="row")
