"""The alerts sensor over a real Dagster instance and real receivers: told once, also when targets or the process fail."""

import datetime as dt
import re
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.scheduler.instigation import TickStatus

from crm_platform.alerts import KINDS, AlertSettings, load_book, mute
from crm_platform.defs.alerting import tick
from crm_platform.defs.platform import Platform
from crm_platform.lake import Lake, audit_log
from crm_platform_tests.alerts.receivers import http_receiver, smtp_receiver
from crm_platform_tests.defs.ticking import sensor_in, tell_ticks

NOW = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)
WEBHOOK = {"kind": "webhook", "name": "on-call", "url_env": "HOOK"}
DAYS = dg.DailyPartitionsDefinition(start_date="2026-03-01", end_date="2026-03-08")


class Checked:
    """An instance, a lake and the sensor's tick over them, with the clock in hand."""

    def __init__(self, instance, folder):
        self.instance = instance
        self.platform = Platform(source="sandbox", lake_root=str(folder), first_day="2026-03-01", last_day="2026-03-08")
        self.lake = Lake(str(folder))
        self.settings = AlertSettings.model_validate({"targets": [WEBHOOK]})
        self.now = NOW
        self.url = ""

    def tick(self, *, after=30):
        self.now += dt.timedelta(seconds=after)
        context = dg.build_sensor_context(instance=self.instance)
        told = {"now": self.now, "environment": {"HOOK": self.url}, "runbook": "docs/runbook.md"}
        return tick(context, self.platform, self.settings, **told)

    def run(self, checks=("rule",), failing=(), *, fail=False, tags=None):
        """One run over seven days, whose checks fail on some."""

        @dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
        def up(context) -> None:
            if fail:
                raise dg.Failure("the mail of a customer")
            for name in checks:
                for key in context.partition_keys:
                    context.log_event(
                        dg.AssetCheckEvaluation(
                            asset_key=context.asset_key,
                            check_name=name,
                            passed=key not in failing,
                            partition=key,
                            metadata={"failing_rows": 3, "total_rows": 100},
                        )
                    )

        specs = [dg.AssetCheckSpec(name, asset="up") for name in checks]

        @dg.multi_asset_check(specs=specs)
        def _none():
            yield from ()

        job = dg.define_asset_job("job", [up]).resolve(
            asset_graph=dg.Definitions(assets=[up]).resolve_asset_graph(),
        )
        told = tags or {
            "dagster/asset_partition_range_start": "2026-03-01",
            "dagster/asset_partition_range_end": "2026-03-07",
        }
        return job.execute_in_process(instance=self.instance, tags=told, raise_on_error=False)


@pytest.fixture
def checked(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    with (
        dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}}) as instance,
        http_receiver() as received,
    ):
        ours = Checked(instance, tmp_path / "lake")
        ours.url, ours.received = received.url, received
        assert ours.tick() == "From now on what goes wrong is told."
        assert ours.tick() == "Nothing new since the last tick."
        yield ours


def subjects(received):
    return [[group["subject"] for group in body["wrong"]] for _, _, body in received]


def test_many_failing_checks_are_one_message_told_once_and_well_again_once(checked):
    checked.run([f"rule_{n:02}" for n in range(25)], failing=("2026-03-02", "2026-03-03"))
    said = checked.tick()
    assert said.startswith("check_failed: up rule_00 on 2026-03-02, 2026-03-03 (2026-03-02: 3 of 100 rows), since ")
    assert said.endswith("and 5 more; see crm-platform alerts list")
    assert checked.tick() == "Nothing new since the last tick."
    ((_, _, body),) = checked.received
    assert body["title"] == "crm_platform: 25 wrong"
    assert body["wrong"][0]["places"] == ["2026-03-02", "2026-03-03"]
    assert body["wrong"][0]["command"] == "crm-platform check up rule_00 --from 2026-03-02 --to 2026-03-03"
    checked.run([f"rule_{n:02}" for n in range(25)])
    assert checked.tick().startswith("well again: check_failed: up rule_00 on 2026-03-02, 2026-03-03, open since ")
    checked.tick()
    assert [body["title"] for _, _, body in checked.received] == [
        "crm_platform: 25 wrong",
        "crm_platform: 25 well again",
    ]


def test_a_mail_that_reached_some_recipients_is_not_sent_again_and_the_book_says_who_was_left_out(checked):
    with smtp_receiver() as (port, taken):
        told = {"kind": "email", "name": "team", "host": "127.0.0.1", "port": port, "starttls": False}
        recipients = ["Nobody <nobody@example.org>", "on-call@example.org"]
        team = {**told, "sender": "crm@example.org", "recipients": recipients}
        checked.settings = AlertSettings.model_validate({"targets": [team]})
        checked.tick()
        checked.run(failing=("2026-03-02",))
        for _ in range(3):
            checked.tick(after=3600)
    assert [to for _, to, _ in taken] == [["on-call@example.org"]]
    ledger = load_book(checked.lake).ledger("team")
    assert ledger.pending is None
    assert "not for 1 of its 2 recipients: in the order of crm_platform.yaml, number 1 (550)" in ledger.left_out


def test_a_failed_run_tells_its_steps_and_days_never_its_error_and_is_closed_by_one_that_succeeds(checked):
    checked.run(fail=True)
    said = checked.tick()
    assert said.startswith("run_failed: job on 2026-03-01...2026-03-07 (failed in up), since ")
    assert "a customer" not in said + str(checked.received)
    checked.run()
    assert checked.tick().startswith("well again: run_failed: job on 2026-03-01...2026-03-07")


def test_a_run_that_a_check_of_a_whole_table_ended_is_told_as_that_check_alone(checked):
    passes = False

    @dg.asset
    def whole() -> None:
        pass

    @dg.asset_check(asset=whole, blocking=True)
    def rule():
        return dg.AssetCheckResult(passed=passes)

    @dg.asset(deps=[whole])
    def after() -> None:
        pass

    job = dg.Definitions(assets=[whole, after], asset_checks=[rule]).resolve_implicit_global_asset_job_def()
    assert not job.execute_in_process(instance=checked.instance, raise_on_error=False).success
    assert checked.tick().startswith("check_failed: whole rule, since ")
    assert subjects(checked.received) == [["whole rule"]]
    passes = True
    assert job.execute_in_process(instance=checked.instance).success
    assert checked.tick().startswith("well again: check_failed: whole rule, open since ")


def test_the_failed_runs_of_a_backfill_are_one_group(checked):
    for day in ("2026-03-01", "2026-03-02"):
        checked.run(fail=True, tags={"dagster/partition": day, "dagster/backfill": "abc"})
    assert checked.tick().startswith(
        "backfill_failed: backfill abc on 2026-03-01, 2026-03-02 (2026-03-01: failed in up), since "
    )


def test_a_run_that_does_not_end_is_stuck_until_it_ends(checked):
    checked.now = dt.datetime.now(dt.UTC)
    run = checked.instance.create_run_for_job(_slow())
    assert checked.tick() == "Nothing new since the last tick."
    assert checked.tick(after=2 * 3600).startswith(
        f"run_stuck: slow {run.run_id} (NOT_STARTED, no end after 2:00:00), "
    )
    checked.instance.report_run_canceled(run)
    assert checked.tick().startswith(f"well again: run_stuck: slow {run.run_id}")


@dg.op
def _nothing():
    pass


def _slow():
    @dg.job
    def slow():
        _nothing()

    return slow


def test_a_sensor_whose_last_three_ticks_failed_is_told_until_one_does_not(checked):
    state = sensor_in(checked.instance, "new_changes")
    tell_ticks(checked.instance, state, [TickStatus.SUCCESS, TickStatus.FAILURE, TickStatus.FAILURE])
    assert checked.tick() == "Nothing new since the last tick."
    tell_ticks(checked.instance, state, [TickStatus.FAILURE, TickStatus.STARTED], begin=4)
    assert checked.tick().startswith(
        "sensor_failing: sensor new_changes (3 failed ticks in a row), since 1970-01-01 00:00 "
    )
    assert checked.tick() == "Nothing new since the last tick."
    tell_ticks(checked.instance, state, [TickStatus.SKIPPED], begin=6)
    assert checked.tick().startswith("well again: sensor_failing: sensor new_changes")


def test_a_backfill_that_the_daemon_gave_up_is_told_once(checked):
    ended = (dt.datetime.now(dt.UTC) + dt.timedelta(days=365)).timestamp()
    checked.instance.add_backfill(
        PartitionBackfill(
            backfill_id="abc",
            status=BulkActionStatus.FAILED,
            from_failure=False,
            tags={},
            backfill_timestamp=1.0,
            asset_selection=[dg.AssetKey("up")],
            backfill_end_timestamp=ended,
        )
    )
    assert checked.tick().startswith("backfill_failed: backfill abc (given up by the daemon), since ")
    assert checked.tick() == "Nothing new since the last tick."


def test_a_mute_hides_until_it_ends_and_is_audited(checked):
    mute(checked.lake, "check_failed: up *", until=NOW + dt.timedelta(hours=1), by="ann", why="known", now=NOW)
    checked.run(failing=("2026-03-02",))
    assert checked.tick() == "Nothing new since the last tick."
    assert checked.tick(after=3600).startswith("check_failed: up rule on 2026-03-02")
    entry = audit_log(checked.lake).row(0, named=True)
    assert (entry["actor"], entry["action"], entry["subject"]) == ("ann", "alerts.mute", "check_failed: up *")
    assert entry["detail"] == '{"until": "2026-03-10T13:00:00+00:00", "why": "known"}'


def test_a_target_that_is_down_for_a_while_gets_the_message_once(checked):
    checked.received.status = 503
    checked.run(failing=("2026-03-02",))
    for _ in range(10):
        checked.tick()
    assert len(checked.received) == 4  # at once, after 30 s, 1 minute and 2 minutes more
    checked.received.status = 200
    for _ in range(20):
        checked.tick()
    assert len({body["id"] for _, _, body in checked.received}) == 1
    assert len(checked.received) == 5
    assert load_book(checked.lake).ledger("on-call").pending is None


def test_a_kill_between_the_send_and_the_book_costs_one_more_under_the_same_id(checked, tmp_path):
    checked.run(failing=("2026-03-02",))
    told = [tmp_path / "home", checked.lake.root, checked.url, (checked.now + dt.timedelta(seconds=30)).isoformat()]
    process = subprocess.Popen([sys.executable, __file__, *map(str, told)])
    checked.received.met = process.kill  # the message has come, the answer has not
    assert process.wait(timeout=60) == -signal.SIGKILL
    checked.received.met = lambda: None
    assert len(checked.received) == 1
    for _ in range(10):
        checked.tick()
    assert [headers["Idempotency-Key"] for _, headers, _ in checked.received] == [checked.received[0][2]["id"]] * 2
    assert load_book(checked.lake).ledger("on-call").pending is None


def test_a_tick_with_nothing_new_writes_nothing(checked):
    checked.run(failing=("2026-03-02",))
    checked.tick()
    checked.tick()
    version = checked.lake.version("alerts/book")
    for _ in range(5):
        assert checked.tick() == "Nothing new since the last tick."
    assert checked.lake.version("alerts/book") == version


def test_every_kind_of_alert_has_a_section_in_the_runbook():
    runbook = (Path(__file__).parents[2] / "docs/runbook.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE))
    assert set(KINDS) - sections == set()
    assert len(KINDS) == 6


if __name__ == "__main__":
    home, lake, hook, begin = sys.argv[1:]
    with dg.DagsterInstance.local_temp(home, overrides={"telemetry": {"enabled": False}}) as held:
        killed = Checked(held, lake)
        killed.url, killed.now = hook, dt.datetime.fromisoformat(begin)
        killed.tick(after=0)
