"""What is open, given what runs and checks said."""

from datetime import UTC, datetime, timedelta

from crm_platform.alerts.problems import (
    Ended,
    Evaluated,
    Problem,
    Stretch,
    after_checks,
    after_runs,
    as_observed,
    stretches,
)

T = datetime(2026, 3, 4, 3, tzinfo=UTC)


def said(check, partition, *, passed, minute=0, run="r1"):
    return Evaluated(
        run_id=run,
        asset="history/lead",
        check=check,
        partition=partition,
        passed=passed,
        at=T + timedelta(minutes=minute),
        failing=0 if passed else 3,
        total=100,
    )


def run(*, passed, minute=0, first="2026-03-01", last="2026-03-03", **more):
    return Ended(
        run_id=f"r{minute}",
        passed=passed,
        at=T + timedelta(minutes=minute),
        **{"job": "increment", "first": first, "last": last, **more},
    )


def test_a_failed_partition_is_open_until_the_same_partition_passes():
    held = after_checks({}, [said("contract", day, passed=False) for day in ("2026-03-01", "2026-03-02")])
    assert [key[2] for key in held] == ["2026-03-01", "2026-03-02"]
    problem = held["check_failed", "history/lead contract", "2026-03-01"]
    assert (problem.how_much, problem.section) == ("3 of 100 rows", "contract")
    mended = after_checks(held, [said("contract", "2026-03-01", passed=True, minute=5, run="r2")])
    assert [key[2] for key in mended] == ["2026-03-02"]


def test_the_summary_of_a_check_by_day_opens_nothing_of_its_own():
    held = after_checks(
        {}, [said("contract", "2026-03-01", passed=False), said("contract", None, passed=False, minute=1)]
    )
    assert list(held) == [("check_failed", "history/lead contract", "2026-03-01")]
    whole = after_checks({}, [said("freshness", None, passed=False)])
    assert list(whole) == [("check_failed", "history/lead freshness", "")]


def test_a_pass_from_before_the_failure_closes_nothing():
    held = after_checks({}, [said("contract", "2026-03-01", passed=False, minute=5)])
    assert after_checks(held, [said("contract", "2026-03-01", passed=True, minute=1, run="r0")]) == held


def test_failing_again_keeps_since():
    held = after_checks({}, [said("contract", "2026-03-01", passed=False)])
    again = after_checks(held, [said("contract", "2026-03-01", passed=False, minute=9, run="r2")])
    assert [problem.since for problem in again.values()] == [T]


def test_a_failed_run_is_closed_by_one_that_covers_its_days_and_assets():
    held = after_runs({}, [run(passed=False)])
    assert list(held) == [("run_failed", "increment", "2026-03-01...2026-03-03")]
    assert after_runs(held, [run(passed=True, minute=1, first="2026-03-02", last="2026-03-03")]) == held
    assert after_runs(held, [run(passed=True, minute=1, job="rebuild")]) == held
    assert after_runs(held, [run(passed=True, minute=1, last="2026-03-09")]) == {}


def test_a_failed_materialization_is_closed_by_one_of_more_assets():
    asked = {"job": "__ASSET_JOB", "assets": ("a",)}
    held = after_runs({}, [run(passed=False, **asked)])
    assert [key[1] for key in held] == ["__ASSET_JOB of a"]
    assert after_runs(held, [run(passed=True, minute=1, job="__ASSET_JOB", assets=("b",))]) == held
    assert after_runs(held, [run(passed=True, minute=1, job="__ASSET_JOB", assets=("a", "b"))]) == {}


def test_a_run_that_only_its_checks_ended_opens_and_closes_nothing():
    assert after_runs({}, [run(passed=False, checks_ended=True)]) == {}
    held = after_runs({}, [run(passed=False)])
    assert after_runs(held, [run(passed=False, minute=1, checks_ended=True)]) == held


def test_the_failed_runs_of_a_backfill_are_one_subject():
    days = ("2026-03-01", "2026-03-02")
    held = after_runs({}, [run(passed=False, first=day, last=day, backfill="abc") for day in days])
    assert list(held) == [("backfill_failed", "backfill abc", day) for day in days]


def test_a_backfill_that_wrote_too_little_is_closed_by_what_is_written_not_by_a_run_that_succeeds():
    lacking = (Stretch(asset="a", first="2026-03-02", last="2026-03-03", since=T),)
    held = after_runs({}, [run(passed=False, backfill="abc", assets=("a",), lacking=lacking)])
    covering = run(passed=True, minute=1, assets=("a",))
    assert after_runs(held, [covering]) == held
    whole = after_runs({}, [run(passed=False, backfill="abc", assets=("a",))])
    assert after_runs(whole, [covering]) == {}
    (problem,) = held.values()
    assert as_observed(held, {"backfill_failed": [problem]}, T) == held
    assert as_observed(held, {"backfill_failed": []}, T) == {}
    assert as_observed(held, {"backfill_failed": [problem]}, T + timedelta(days=7, seconds=1)) == {}


def test_a_run_that_wrote_too_little_is_closed_by_what_is_written_not_by_one_that_succeeds():
    lacking = (Stretch(asset="a", first="2026-03-02", last="2026-03-03", since=T),)
    held = after_runs({}, [run(passed=False, lacking=lacking)])
    assert after_runs(held, [run(passed=True, minute=1)]) == held
    assert as_observed(held, {"run_failed": []}, T) == {}


def test_days_are_kept_as_rows_of_neighbours():
    found = stretches("a", {"2026-03-02", "2026-02-28", "2026-03-01", "2026-03-09"}, T)
    assert [(one.first, one.last) for one in found] == [("2026-02-28", "2026-03-02"), ("2026-03-09", "2026-03-09")]
    assert found[0].partitions == ["2026-02-28", "2026-03-01", "2026-03-02"]
    assert [one.partitions for one in stretches("a", (), T)] == [[]]


def test_states_are_open_exactly_while_they_are_seen_and_keep_their_since():
    def stuck(since):
        return Problem(kind="run_stuck", subject="x", since=since, section="run_stuck")

    held = as_observed({}, {"run_stuck": [stuck(T)]}, T)
    assert as_observed(held, {"run_stuck": [stuck(T + timedelta(hours=1))]}, T) == held
    assert as_observed(held, {"run_stuck": None}, T) == held
    assert as_observed(held, {"run_stuck": []}, T) == {}


def test_a_failed_run_that_nothing_covers_lapses_after_a_week():
    held = after_runs({}, [run(passed=False)])
    assert as_observed(held, {}, T + timedelta(days=7)) == held
    assert as_observed(held, {}, T + timedelta(days=7, seconds=1)) == {}
