"""The faults: what goes wrong, who tells of it, what waits, and what the runbook says to do about it.

Only declared here; how each is brought about and mended stands in `injections` and `remedies`.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import polars as pl

from crm_platform_tests.faults import answers as a
from crm_platform_tests.faults import injections as i
from crm_platform_tests.faults import leaks as k
from crm_platform_tests.faults import losses as l
from crm_platform_tests.faults import remedies as r
from crm_platform_tests.pipeline import FIRST


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
        days: How many days a fresh lake covers.
        accounts: How large its sandbox is.
        waits: Which days of which tables are not built while it lasts; None where chance decides.
        equal: What is afterwards as on a lake that never saw it: everything, the current tables, or nothing, where the CRM
            itself has another history.
        loses: Whether snapshots have to repair history where nothing is equal: the stream did not tell everything.
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
    days: int = 6
    accounts: int = 16
    waits: tuple[str, ...] | None = ()
    equal: Literal["all", "current", "nothing"] = "all"
    loses: bool = False
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


AHEAD = (
    "Told by a sensor whose clock is two hours ahead: a run counts as stuck after `stuck_after_minutes`, 60 unless set."
)
SNAPSHOT = "check_failed: landing/snapshot"
DRIFT = f"{SNAPSHOT}/owner schema_drift on 2026-03-04 and 2 more"
GATE = "check_failed: gate/red nothing_red"
OWNERS = (
    "2026-03-04: features/account, features/contact, features/lead, features/opportunity, history/merges, history/owner",
)
EVERYTHING = (
    "features/account, features/contact, features/lead, features/opportunity, history/account, history/activity, "
    "history/contact, history/lead, history/merges, history/opportunity, history/owner, landing/changes/account, "
    "landing/changes/activity, landing/changes/contact, landing/changes/lead, landing/changes/opportunity, "
    "landing/changes/owner"
)
RUN = "run_failed: everything on 2026-03-01...2026-03-06"
LEADS = "`rebuild --from 2026-03-04 --objects lead,activity`"
DRIFTS = [
    Fault("column_removed", "Exports lack a column from a day on.", i.changed(object="owner", remove=["region"]),
          (GATE, DRIFT), r.skip("owner"), "`snapshot skip` of the days, the run again", waits=OWNERS, equal="nothing"),
    Fault("column_renamed", "A column has another name from a day on.",
          i.changed(object="owner", rename={"region": "territory"}), (GATE, DRIFT), r.run_again,
          "the CRM exports the old shape, the run again", waits=OWNERS),
    Fault("changed_between_parts", "A column has another name from the second part of an export on.",
          a.in_parts(5, object="owner", rename={"region": "territory"}), (GATE, DRIFT), r.run_again,
          "the CRM exports the old shape, the run again", waits=OWNERS),
    Fault("column_retyped", "A column becomes text that still reads as its type.",
          i.changed(object="owner", retype=["is_active"]), (DRIFT,), r.by_contract("texts"),
          "the contract's policy `as_text` becomes `evolve`, `check landing/snapshot/owner schema_drift`"),
    Fault("column_added", "A column that the contract does not know.", i.changed(object="owner", add={"desk": "7"}),
          (DRIFT,), r.by_contract("desks"), "the contract declares it, `check landing/snapshot/owner schema_drift`",
          equal="current"),
    Fault("nulls", "The CRM leaves a column empty that the contract wants filled.", a.held_to("phones"),
          ("check_failed: landing/changes/lead quarantine on 2026-03-02 and 4 more",
           f"{SNAPSHOT}/lead schema_drift on 2026-03-02 and 4 more"),
          r.release("lead"), "the contract allows it, `quarantine release`, `rebuild`", equal="current"),
    Fault("new_category", "A value that the contract does not declare.", a.held_to("chats"),
          ("check_failed: landing/changes/activity quarantine on 2026-03-02 and 4 more",
           f"{SNAPSHOT}/activity schema_drift on 2026-03-02 and 4 more"), r.release("activity"),
          "the contract declares it, `quarantine release`, `rebuild`", equal="current"),
    Fault("naive_timestamps", "Times without a zone, from a day on.", i.answered(naive_timestamps={"day": i.RED}),
          (GATE, "check_failed: landing/changes/activity quarantine on 2026-03-04 and 2 more",
           f"{SNAPSHOT}/activity schema_drift on 2026-03-04 and 2 more"),
          r.discard("activity", "naive_timestamp: occurred_at"),
          "the CRM says the zone, the run again, `quarantine discard`", equal="current",
          waits=(OWNERS[0].replace("history/merges, history/owner", "history/activity, history/merges"),)),
    Fault("value_drift", "A CRM's automation gives every contact one title.",
          i.changed(object="contact", day=dt.date(2026, 3, 9), remove=["title"], add={"title": "Manager"}),
          (f"{SNAPSHOT}/contact value_drift on 2026-03-09",),
          r.muted(f"{SNAPSHOT}/contact value_drift*"), "it is meant so: `alerts mute`", days=10, accounts=125, equal="nothing", loses=True,
          finding="The check stays failed for the days that landed, and the mute says that it is known."),
]  # fmt: skip
ANSWERS = [
    Fault("late_commits", "Rows show up 20 hours late, behind the cursor and after midnight.", a.late, equal="nothing"),
    Fault("timestamp_ties", "More rows at one timestamp than fit a page.",
          a.held_to(manifest=a.NARROW, timestamp_ties={"day": 2}), equal="nothing"),
    Fault("null_locator", "Exports that fail once, and whose end is the word null.", i.answered(null_locator={})),
    Fault("gap_events", "Events without their data, and events of several records.",
          i.answered(gap_events={"share": 0.05}), equal="current"),
    Fault("overflow", "The feed says that it lost changes, and not which.",
          i.answered(gap_events={"share": 0, "overflow_every": 60}),
          ("partition_late: tables behind on 2026-03-01", RUN),
          r.go_on(gap_events={"share": 0, "overflow_every": 60}), "`feed skip`, the run again",
          waits=(f"2026-03-01: {EVERYTHING}",), equal="current"),
    Fault("feed_gap", "Nobody reads for longer than the feed keeps its changes: two days are lost.", a.away,
          ("run_failed: everything on 2026-03-03...2026-03-06",), r.go_on(a.FORGETS), "`feed skip`, the run again",
          waits=(f"2026-03-03: {EVERYTHING}",), equal="current"),
    Fault("merge_styles", "Merges by a third id, and chains of them.", i.answered(merge_styles={"more": 9}),
          equal="nothing", accounts=90),
    Fault("hidden_deletes", "Hard deletes that no event tells of, and deletes of what was never seen.",
          i.answered(hidden_deletes={}), equal="nothing", loses=True, accounts=90),
    Fault("rate_limited", "Every third call is answered 429.", i.answered(rate_limited={"every": 3, "retry_after": 0})),
    Fault("server_errors", "Bursts of 503.", i.answered(server_errors={"every": 10})),
    Fault("truncated_bodies", "Downloads that break off.", i.answered(truncated_bodies={})),
    Fault("token_expiry", "Tokens that stop working after five calls.", i.answered(token_expiry={"calls": 5})),
    Fault("quota_403", "The day's quota is used up in the middle of a run.", i.answered(quota_403={"calls": 30}),
          (RUN,), r.run_again, "the quota is there again, the run again", waits=(f"2026-03-01: {EVERYTHING}",)),
]  # fmt: skip
REFUSED = "the newest training set is refused"
TABLES = [
    Fault("duplicates", "A day of history holds every version twice.", i.spoiled("history/lead", "duplicates", twice),
          ("check_failed: history/lead duplicates on 2026-03-04",), r.rebuild(i.RED, "history/lead duplicates"),
          LEADS, "healthy", waits=(REFUSED,), smoke=True),
    Fault("broken_rows", "History holds values that no contract allows.", i.spoiled("history/lead", "contract", unnamed),
          ("check_failed: history/lead contract on 2026-03-04",), r.rebuild(i.RED), LEADS, "healthy",
          waits=(REFUSED,)),
    Fault("missing_day", "A day of history is empty.", i.spoiled("history/lead", "missing_days", emptied),
          ("check_failed: history/lead missing_days on 2026-03-04",), r.rebuild(i.RED), LEADS, "healthy"),
    Fault("cut_file", "A file lost a row behind the log.", i.cut_behind_the_log,
          ("check_failed: history/lead parity",), r.rebuild(i.RED), LEADS, "healthy"),
    Fault("lost_history", "A file of history is gone.", l.lost("history/lead", "history/lead parity"),
          ("check_failed: history/lead parity",), r.rebuild(i.RED), LEADS, "healthy"),
    Fault("lost_landing", "A file of landed changes is gone, and a rebuild refuses.", l.lost(l.LEADS, l.LOST_FILES),
          (f"check_failed: {l.LOST_FILES}",), l.restore,
          "`landing restore landing/changes/lead`, `rebuild --from 2026-03-04`, `check " + l.LOST_FILES + "`", "healthy"),
    Fault("lost_for_good", "A file of landed changes is gone, and the feed keeps them no more.", l.lost(l.LEADS, l.LOST_FILES),
          (f"check_failed: {l.LOST_FILES}",), l.give_up,
          "`landing restore landing/changes/lead --give-up`, `check " + l.LOST_FILES + "`", "healthy", equal="current",
          finding="Only landing lacks the rows: history keeps what it was built from, and no night asks for it to be rebuilt."),
]  # fmt: skip
RUNS = [
    Fault("poisoned_backfill", "A backfill over six days meets one whose export has another shape.", a.poisoned,
          (f"{SNAPSHOT}/owner schema_drift on 2026-03-04",), r.land_and_rebuild(i.RED),
          "the CRM exports the old shape, the day is materialized, `rebuild --from 2026-03-04`", waits=OWNERS),
    Fault("stuck_run", "A run does not end.", i.stuck, ("run_stuck: increment",), r.terminate, "Terminate", "healthy",
          smoke=True, finding=AHEAD),
    Fault("killed_step", "The process of a run is killed in a step.", i.killed,
          ("partition_late: tables behind on 2026-03-01", "run_stuck: everything on 2026-03-01...2026-03-06"),
          r.run_again, "the run again", waits=None, finding=AHEAD),
    Fault("full_disk", "No file can grow any more.", i.full,
          ("run_stuck: everything on 2026-03-01...2026-03-06",), r.run_again, "the run again",
          waits=(f"2026-03-01: {EVERYTHING}",), finding=AHEAD),
    Fault("failing_sensor", "The CRM answers nobody, and the sensor of the feed fails.", i.dead_source,
          ("sensor_failing: sensor new_changes",), r.ticks_again, "the CRM answers again", "healthy"),
    Fault("dead_target", "The alerts' target is dead while a check fails.", i.dead_target,
          ("check_failed: history/lead duplicates on 2026-03-04",), r.target_again,
          f"the target answers again; {LEADS}", "healthy", waits=(REFUSED,)),
]  # fmt: skip
MARCH = "`rebuild --from 2026-03-01 --objects lead,activity`, `check features/lead leakage_truncation`"
CUT = r.rebuild_red("features/lead leakage_truncation")
RED_ON = "`rebuild --from` the first red day, `--objects lead,activity`, `check features/lead leakage_truncation`"
TRUNCATED = "check_failed: features/lead leakage_truncation"
LEAKS = [
    Fault("leak_early_activity", "Activities count three days before they happen.", k.leaking("activity", k.early),
          (f"{TRUNCATED} on 2026-03-17 and 28 more",), r.rebuild(FIRST, "features/lead leakage_truncation"), MARCH, "long"),
    Fault("leak_todays_status", "The status of today stands in the past.", k.leaking("lead", k.todays_status),
          (f"{TRUNCATED} on 2026-03-01 and 43 more",), CUT, RED_ON, "long", waits=(REFUSED,)),
    Fault("leak_event_time", "Late rows are believed at their event time.", k.leaking("activity", k.at_event_time),
          (f"{TRUNCATED} on 2026-03-10 and 33 more",), CUT, RED_ON, "long", waits=(REFUSED,)),
    Fault("leak_window", "Windows keep what left them a microsecond ago.", k.kept_too_long,
          (f"{TRUNCATED} on 2026-03-09 and 33 more",), CUT, RED_ON, "long", waits=(REFUSED,)),
    Fault("leak_label", "The label stands among the features.", k.label_among_the_features,
          ("check_failed: training/lead_conversion leakage",),
          r.train_again, "the training set is materialized again, `check training/lead_conversion`", "long",
          waits=(REFUSED,)),
]  # fmt: skip
MATRIX = [*DRIFTS, *ANSWERS, *TABLES, *RUNS, *LEAKS]
