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
        lake: What it begins with: nothing, a healthy lake of six days, or one of 45 with a training set.
        waits: Which days of which tables are not built while it lasts.
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
    lake: Literal["fresh", "healthy", "long"] = "fresh"
    waits: tuple[str, ...] = ()
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
DRIFTS = [
    Fault("column_removed", "Exports lack a column from a day on.", i.changed(object="owner", remove=["region"]),
          (GATE, DRIFT), r.skip("owner"), "`snapshot skip` of the days, the run again", waits=OWNERS, is_equal=False),
    Fault("column_renamed", "A column has another name from a day on, in the middle of the days built.",
          i.changed(object="owner", rename={"region": "territory"}), (GATE, DRIFT), r.run_again,
          "the CRM exports the old shape, the run again", waits=OWNERS, smoke=True),
    Fault("column_retyped", "A column becomes text.", i.changed(object="owner", retype=["is_active"]), (GATE, DRIFT),
          r.skip("owner"), "`snapshot skip` of the days, the run again", waits=OWNERS, is_equal=False),
    Fault("column_added", "A column that the contract does not know.", i.changed(object="owner", add={"desk": "7"}),
          (DRIFT,), is_equal=False),
    Fault("nulls", "Rows without a value that the contract wants.", i.contracted("strict"), (), r.release("contact"),
          "the contract is loosened, `quarantine release`, the run again"),
    Fault("categories", "A value that the contract does not declare.", i.contracted("categories"), (),
          r.release("activity"), "the contract declares it, `quarantine release`, the run again"),
    Fault("naive_timestamps", "Times without a zone.", i.answered(naive_timestamps={"day": i.RED}), (), r.run_again,
          "the CRM is mended", is_equal=False),
]  # fmt: skip
ANSWERS = [
    Fault("late_commits", "Rows committed late, behind the cursor and after midnight.", i.late, is_equal=False),
    Fault("timestamp_ties", "More rows at one timestamp than a page holds.",
          i.answered(timestamp_ties={"day": 2, "rows": 450}), is_equal=False),
    Fault("null_locator", "Exports that fail once and end with the word null.", i.answered(null_locator={})),
    Fault("gap_events", "Events without their data.", i.answered(gap_events={"share": 0.05, "overflow_every": 50}),
          is_equal=False),
    Fault("merge_styles", "Merges by a third id, and chains of them.", i.answered(merge_styles={}), is_equal=False),
    Fault("hidden_deletes", "Hard deletes that no event tells of.", i.answered(hidden_deletes={}), is_equal=False),
    Fault("rate_limited", "Every third call is answered 429.", i.answered(rate_limited={"every": 3, "retry_after": 0})),
    Fault("server_errors", "Bursts of 503.", i.answered(server_errors={"every": 10})),
    Fault("truncated_bodies", "Downloads that break off.", i.answered(truncated_bodies={})),
    Fault("token_expiry", "Tokens that stop working after five calls.", i.answered(token_expiry={"calls": 5})),
    Fault("quota_403", "The day's quota is used up in the middle of a run.", i.answered(quota_403={"calls": 30}),
          (), r.run_again, "the quota is there again, the run again"),
]  # fmt: skip
TABLES = [
    Fault("duplicates", "A day of history holds every version twice.", i.spoiled("history/lead", "duplicates", twice),
          ("check_failed: history/lead duplicates on 2026-03-04",), r.rebuild(i.RED, "history/lead duplicates"),
          "`rebuild --from 2026-03-04`", "healthy", smoke=True),
    Fault("broken_rows", "History holds values that no contract allows.", i.spoiled("history/lead", "contract", unnamed),
          ("check_failed: history/lead contract on 2026-03-04",), r.rebuild(i.RED), "`rebuild --from 2026-03-04`", "healthy"),
    Fault("missing_day", "A day of history is empty.", i.spoiled("history/lead", "missing_days", emptied),
          ("check_failed: history/lead missing_days on 2026-03-04",), r.rebuild(i.RED), "`rebuild --from 2026-03-04`", "healthy"),
    Fault("cut_file", "A file lost a row behind the log.", i.cut_behind_the_log,
          ("check_failed: history/lead parity",), r.rebuild(i.RED), "`rebuild --from 2026-03-04`", "healthy"),
    Fault("lost_file", "A file that the log names is gone.", i.lost_file, (), r.rebuild(i.RED),
          "`rebuild --from 2026-03-04`", "healthy"),
    Fault("offset_gap", "A batch of the feed is lost.", i.gap, (), r.run_again, "a snapshot of every object", is_equal=False),
]  # fmt: skip
RUNS = [
    Fault("stuck_run", "A run does not end.", i.stuck, ("run_stuck: increment",), r.terminate, "Terminate", "healthy", smoke=True),
    Fault("killed_step", "The process of a run is killed in a step.", i.killed, (), r.run_again, "the run again"),
    Fault("full_disk", "No file can grow any more.", i.full, (), r.run_again, "the run again"),
    Fault("failing_sensor", "The CRM answers nobody, and the sensor of the feed fails.", i.dead_source,
          ("sensor_failing: sensor new_changes",), r.ticks_again, "the CRM answers again", "healthy"),
    Fault("dead_target", "The alerts' target is dead while a check fails.", i.dead_target,
          ("check_failed: history/lead duplicates on 2026-03-04",), r.target_again,
          "the target answers again; `rebuild --from 2026-03-04`", "healthy"),
]  # fmt: skip
TRUNCATED = "check_failed: features/lead leakage_truncation"
LEAKS = [
    Fault("leak_early_activity", "Activities count three days before they happen.", i.leaking("activity", i.early),
          (), r.rebuild(), "`rebuild --from 2026-03-01`", "long"),
    Fault("leak_todays_status", "The status of today stands in the past.", i.leaking("lead", i.todays_status),
          (), r.rebuild(), "`rebuild --from 2026-03-01`", "long"),
    Fault("leak_event_time", "Late rows are believed at their event time.", i.leaking("activity", i.at_event_time),
          (), r.rebuild(), "`rebuild --from 2026-03-01`", "long"),
    Fault("leak_window", "Windows keep what has left them.", i.kept_too_long, (), r.rebuild(),
          "`rebuild --from 2026-03-01`", "long"),
    Fault("leak_label", "The label stands among the features.", i.label_among_the_features,
          ("check_failed: training/lead_conversion leakage",), r.train_again, "the training set is materialized again", "long"),
]  # fmt: skip
MATRIX = [*DRIFTS, *ANSWERS, *TABLES, *RUNS, *LEAKS]
