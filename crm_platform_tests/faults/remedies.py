"""What the runbook says to do, done with its own commands; each takes a stage after its fault."""

import datetime as dt
from collections.abc import Callable

import dagster as dg
from dagster._core.scheduler.instigation import TickStatus

from crm_platform_tests.alerts.receivers import http_receiver
from crm_platform_tests.defs.ticking import tell_ticks
from crm_platform_tests.faults.stage import Stage
from crm_platform_tests.pipeline import FIRST

Remedy = Callable[[Stage], None]


def none(_: Stage) -> None:
    """Nothing is to be done."""


def run_again(stage: Stage) -> None:
    """The CRM is well again, and the run is repeated."""
    stage.ahead = dt.timedelta()
    with stage.crm():
        assert stage.run()


def skip(object_name: str) -> Remedy:
    """Goes without the exports."""

    def mend(stage: Stage) -> None:
        for red in [line.split()[1] for line in stage.red()]:
            code, said = stage.command("snapshot", "skip", red, "--object", object_name, "--by", "ann")
            assert code == 0, said
        with stage.crm():
            assert stage.run()

    return mend


def rebuild(first: dt.date = FIRST, *checks: str) -> Remedy:
    """Derives the days again; a check that no build asks is asked after it."""

    def mend(stage: Stage) -> None:
        code, said = stage.command("rebuild", "--from", first.isoformat(), "--objects", "lead,activity")
        assert code == 0, said
        for check in checks:
            stage.command("check", *check.split())

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
