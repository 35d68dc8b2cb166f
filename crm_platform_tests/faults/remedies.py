"""What the runbook says to do, done with its own commands; each takes a stage after its fault."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from crm_platform.alerts import load_book
from crm_platform.alerts.problems import CHECK_FAILED
from crm_platform.defs.jobs import NIGHTLY
from crm_platform_tests.alerts.receivers import http_receiver
from crm_platform_tests.defs.ticking import tell_ticks
from crm_platform_tests.faults.stage import TRAINING, Stage
from crm_platform_tests.pipeline import FIRST

Remedy = Callable[[Stage], None]


def none(_: Stage) -> None:
    """Nothing is to be done."""


def run_again(stage: Stage) -> None:
    """The CRM is well again, and the run is repeated."""
    stage.ahead = dt.timedelta()
    with stage.crm():
        assert stage.run()


def said(stage: Stage, *words: str) -> str:
    """What a command answers that does what it is asked."""
    code, answer = stage.command(*words)
    assert code == 0, answer
    return answer


def proven(stage: Stage) -> None:
    """Every check that is told of looks again, with the command that its alert names."""
    told = {problem.subject for problem in load_book(stage.lake).problems if problem.kind == CHECK_FAILED}
    for subject in sorted(told):
        stage.command("check", *subject.split())


def by_contract(contracts: str) -> Remedy:
    """The contract says what the CRM does, and the checks look again."""

    def mend(stage: Stage) -> None:
        with stage.crm(source=stage.manifest(contracts)):
            proven(stage)

    return mend


def release(object_name: str, contracts: str = "") -> Remedy:
    """The contract takes the rows by now: they are released, and the days that they belong to are derived again."""

    def mend(stage: Stage) -> None:
        with stage.crm(source=stage.manifest(contracts)):
            answer = said(stage, "quarantine", "release", object_name, "--by", "ann")
            assert " 0 still break their contract" in answer, answer
            first = re.search(r"rebuild --from (\S+)", answer)
            assert first is not None, answer
            said(stage, "rebuild", "--from", first[1])
            proven(stage)

    return mend


def discard(object_name: str, rule: str) -> Remedy:
    """The CRM is mended, and the run is repeated; the rows that no contract can take are given up."""

    def mend(stage: Stage) -> None:
        with stage.crm():
            assert stage.run()
            said(stage, "quarantine", "discard", object_name, "--rule", rule, "--why", "mended", "--by", "ann")
            proven(stage)

    return mend


def go_on(like: dict[str, Any] | None = None, **faults: Any) -> Remedy:
    """The feed goes on behind what it lost, and the run is repeated: its snapshots repair history."""

    def mend(stage: Stage) -> None:
        with stage.crm(like=like, **faults):
            assert "nothing is lost" not in said(stage, "feed", "skip", "--by", "ann")
            assert stage.run()

    return mend


def land_and_rebuild(day: dt.date) -> Remedy:
    """The CRM exports the old shape, the day lands, and what waited for it is derived."""

    def mend(stage: Stage) -> None:
        with stage.crm():
            stage.land(day, day)
            said(stage, "check", "landing/snapshot/owner", "schema_drift", "--from", day.isoformat())
            said(stage, "rebuild", "--from", day.isoformat())

    return mend


def muted(pattern: str) -> Remedy:
    """What is known and no fault is not told again."""

    def mend(stage: Stage) -> None:
        until = (dt.datetime.now(dt.UTC) + dt.timedelta(days=7)).date().isoformat()
        said(stage, "alerts", "mute", pattern, "--until", until, "--why", "a change of business", "--by", "ann")

    return mend


def train_again(stage: Stage) -> None:
    """Materializes the training set again, and its checks look at it."""
    with stage.crm():
        assert stage.run(stage.last, job=NIGHTLY)
        said(stage, "check", f"training/{TRAINING}")


def skip(object_name: str) -> Remedy:
    """Goes without the exports."""

    def mend(stage: Stage) -> None:
        for red in [line.split()[1] for line in stage.red()]:
            said(stage, "snapshot", "skip", red, "--object", object_name, "--by", "ann")
        with stage.crm():
            assert stage.run()

    return mend


def rebuild(first: dt.date = FIRST, *checks: str) -> Remedy:
    """Derives the days again; a check that no build asks is asked after it."""

    def mend(stage: Stage) -> None:
        said(stage, "rebuild", "--from", first.isoformat(), "--objects", "lead,activity")
        for check in checks:
            stage.command("check", *check.split())

    return mend


def rebuild_red(check: str) -> Remedy:
    """Derives the days again from the first red one on, as the check's section says, and the check looks at all of them."""

    def mend(stage: Stage) -> None:
        first = min(line.split()[1] for line in stage.red())
        rebuild(dt.date.fromisoformat(first), check)(stage)

    return mend


def terminate(stage: Stage) -> None:
    """Ends the run that hangs, as Terminate does in the UI."""
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(stage.left["run"])
        assert run is not None
        instance.report_run_canceled(run)


def ticks_again(stage: Stage) -> None:
    """The CRM answers, and the next tick succeeds."""
    with dg.DagsterInstance.get() as instance:
        tell_ticks(instance, stage.left["sensor"], [TickStatus.SKIPPED], begin=10)


def target_again(stage: Stage) -> None:
    """The target answers: what waited is sent once, and then that it is well again."""
    with http_receiver() as received:
        stage.left["environment"] = {"HOOK": received.url}
        stage.ahead = dt.timedelta(hours=1)
        stage.tick()
        rebuild()(stage)
        stage.ahead = dt.timedelta(hours=2)
        stage.tick()
        assert [body["title"] for _, _, body in received] == ["crm_platform: 1 wrong", "crm_platform: 1 well again"]
