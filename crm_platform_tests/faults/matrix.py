"""The faults: what goes wrong, who tells of it, what waits, and what the runbook says to do about it.

Only declared here; how each is brought about and mended stands in `injections` and `remedies`.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from crm_platform_tests.faults import injections as i
from crm_platform_tests.faults import remedies as r


@dataclass(frozen=True)
class Fault:
    """One fault and what must come of it.

    Attributes:
        name: Its name in the table.
        what: What goes wrong, in a sentence.
        inject: Brings it about.
        tells: What the alerts tell of it; empty where it is survived unseen.
        remedy: Mends it.
        does: What the remedy does, as the runbook says it.
        lake: What it begins with: nothing, or a healthy lake of six days.
        waits: Which days of which tables are not built while it lasts; None where chance decides.
        is_equal: Whether afterwards everything is as on a lake that never saw it.
        smoke: Whether it is also part of the usual tests.
        stays: What the remedy does not return to green: a finding.
        finding: What is not as one would want it, said in the table.
    """

    name: str
    what: str
    inject: i.Injection
    tells: tuple[str, ...] = ()
    remedy: r.Remedy = r.none
    does: str = "nothing: it is survived"
    lake: Literal["fresh", "healthy"] = "fresh"
    waits: tuple[str, ...] | None = ()
    is_equal: bool = True
    smoke: bool = False
    stays: tuple[str, ...] = ()
    finding: str = ""


def twice(rows: pl.DataFrame) -> pl.DataFrame:
    """Every row again."""
    return pl.concat([rows, rows])


def unnamed(rows: pl.DataFrame) -> pl.DataFrame:
    """Statuses that no contract declares."""
    return rows.with_columns(status=pl.lit("lost in translation"))


def emptied(rows: pl.DataFrame) -> pl.DataFrame:
    """No rows."""
    return rows.clear()


DRIFT = "check_failed: landing/snapshot/owner schema_drift on 2026-03-04 and 2 more"
GATE = "check_failed: gate/red nothing_red"
OWNERS = (
    "2026-03-04: features/account, features/contact, features/lead, features/opportunity, history/merges, history/owner",
)
EVERYTHING = (
    (
        "2026-03-01: features/account, features/contact, features/lead, features/opportunity, history/account, "
        "history/activity, history/contact, history/lead, history/merges, history/opportunity, history/owner, "
        "landing/changes/account, landing/changes/activity, landing/changes/contact, landing/changes/lead, "
        "landing/changes/opportunity, landing/changes/owner"
    ),
)
RUN = "run_failed: everything on 2026-03-01...2026-03-06"
DRIFTS = [
    Fault("column_removed", "Exports lack a column from a day on.", i.changed(object="owner", remove=["region"]),
          (GATE, DRIFT), r.skip("owner"), "`snapshot skip` of the days, the run again", waits=OWNERS, is_equal=False),
    Fault("column_renamed", "A column has another name from a day on, in the middle of the days built.",
          i.changed(object="owner", rename={"region": "territory"}), (GATE, DRIFT), r.run_again,
          "the CRM exports the old shape, the run again", waits=OWNERS),
    Fault("column_retyped", "A column becomes text.", i.changed(object="owner", retype=["is_active"]),
          remedy=r.run_again, does="nothing is red; the run again finds nothing to do", is_equal=False,
          finding="Text that reads as the contract's type is read as it."),
    Fault("column_added", "A column that the contract does not know.", i.changed(object="owner", add={"desk": "7"}),
          (DRIFT,), does="none is needed to go on: it warns until the contract declares the column", is_equal=False,
          stays=(DRIFT,), finding="A warning on days that landed stays open; `alerts mute` silences it."),
]  # fmt: skip
ANSWERS = [
    Fault("server_errors", "Bursts of 503.", i.answered(server_errors={"every": 10})),
    Fault("quota_403", "The day's quota is used up in the middle of a run.", i.answered(quota_403={"calls": 30}),
          (RUN,), r.run_again, "the quota is there again, the run again", waits=EVERYTHING),
]  # fmt: skip
TABLES = [
    Fault("duplicates", "A day of history holds every version twice.", i.spoiled("history/lead", "duplicates", twice),
          ("check_failed: history/lead duplicates on 2026-03-04",), r.rebuild(i.RED, "history/lead duplicates"),
          "`rebuild --from 2026-03-04 --objects lead,activity`", "healthy", smoke=True),
    Fault("broken_rows", "History holds values that no contract allows.", i.spoiled("history/lead", "contract", unnamed),
          ("check_failed: history/lead contract on 2026-03-04",), r.rebuild(i.RED), "`rebuild --from 2026-03-04 --objects lead,activity`", "healthy"),
    Fault("missing_day", "A day of history is empty.", i.spoiled("history/lead", "missing_days", emptied),
          ("check_failed: history/lead missing_days on 2026-03-04",), r.rebuild(i.RED), "`rebuild --from 2026-03-04 --objects lead,activity`", "healthy"),
    Fault("cut_file", "A file lost a row behind the log.", i.cut_behind_the_log,
          ("check_failed: history/lead parity",), r.rebuild(i.RED), "`rebuild --from 2026-03-04 --objects lead,activity`", "healthy"),
]  # fmt: skip
RUNS = [
    Fault("stuck_run", "A run does not end.", i.stuck, ("run_stuck: increment",), r.terminate, "Terminate", "healthy", smoke=True),
    Fault("killed_step", "The process of a run is killed in a step.", i.killed,
          ("partition_late: tables behind on 2026-03-06", "run_stuck: everything on 2026-03-01...2026-03-06"),
          r.run_again, "the run again", waits=None),
    Fault("full_disk", "No file can grow any more.", i.full,
          ("run_stuck: everything on 2026-03-01...2026-03-06",), r.run_again, "the run again", waits=EVERYTHING),
    Fault("failing_sensor", "The CRM answers nobody, and the sensor of the feed fails.", i.dead_source,
          ("sensor_failing: sensor new_changes",), r.ticks_again, "the CRM answers again", "healthy"),
    Fault("dead_target", "The alerts' target is dead while a check fails.", i.dead_target,
          ("check_failed: history/lead duplicates on 2026-03-04",), r.target_again,
          "the target answers again; `rebuild --from 2026-03-04 --objects lead,activity`", "healthy"),
]  # fmt: skip
MATRIX = [*DRIFTS, *ANSWERS, *TABLES, *RUNS]
