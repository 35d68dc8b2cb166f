"""Running a job over a range of days in this process, with its progress for people, after the runs of dead processes.

What is run is the caller's question: the demo, a rebuild, a check alone.
"""

import datetime as dt
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence

import dagster as dg
from rich.console import Console
from rich.text import Text

from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import EVERYTHING, derived_from

Make = Callable[[Mapping[str, dg.LoggerDefinition]], dg.Definitions]
"""Makes the definitions of a code location, given its loggers."""

HOST, PROCESS = "crm_platform/host", "crm_platform/process"
"""Tags that tell which process executes a run."""
OF_THE_ENGINE = ("Dependencies for step", "Skipping step")
"""How Dagster begins the lines on steps that never started; the failed step above them says why."""


class StepLines(logging.Handler):
    """Prints a run's progress as it happens: what bodies say, and each step as it ends."""

    def __init__(self, console: Console, told: Callable[[str], None] | None = None) -> None:
        """Prints to a console, or tells somebody else the plain lines."""
        super().__init__(logging.DEBUG)
        self.console = console
        self.told = told
        self.ended = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line, if the record is one that people look for."""
        told = getattr(record, "dagster_meta", None) or {}
        event = told.get("dagster_event")
        step = told.get("step_key") or ""
        said = told.get("orig_message") or record.getMessage()
        if event is None:
            if record.levelno >= logging.INFO and not said.startswith(OF_THE_ENGINE):
                self.tell(f"  [dim]{step}: {said}[/dim]")
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            self.ended += 1
            took = event.event_specific_data.duration_ms / 1000
            self.tell(f"[green]✓[/green] {step} [dim]{took:.1f} s[/dim]")
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            why = (error.cause or error) if error else None
            self.tell(f"[red]✗ {step} failed[/red] {why.message.strip() if why else ''}")

    def tell(self, line: str) -> None:
        """Prints a line with the time of day."""
        if self.told is not None:
            self.told(Text.from_markup(line).plain)
            return
        self.console.print(f"[dim]{dt.datetime.now(dt.UTC):%H:%M:%S}[/dim] {line}", highlight=False)


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """Ends the runs of this machine whose process was killed, and frees the pools they still hold.

    A daemon's run monitoring does the same for the runs it launched; without it a new run would wait for ever.
    """
    begun = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={HOST: socket.gethostname()})
    for run in instance.get_runs(begun):
        if not _is_alive(int(run.tags[PROCESS])):
            instance.report_run_failed(run, "The process of this run was killed; the next run takes its work up.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def run_range(
    make: Make,
    first: dt.date,
    last: dt.date,
    lines: logging.Handler,
    *,
    job: str = EVERYTHING,
    objects: Sequence[str] = (),
    checks: Collection[dg.AssetCheckKey] = (),
    tags: Mapping[str, str] | None = None,
) -> tuple[bool, str]:
    """Runs a job over a range of days in this process; whether it succeeded, and the run's id.

    Args:
        make: Makes the definitions, whose lines go to the loggers given.
        first: The first day.
        last: The last one.
        lines: Where progress goes.
        job: Which job.
        objects: Of the job, only the histories of these and what is derived from them; none for all.
        checks: These checks instead of a job.
        tags: What the run is tagged with beside its days.
    """

    @dg.logger
    def demo(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("crm_platform.demo", logging.DEBUG)  # noqa: LOG001  Dagster wants a logger of its own
        logger.addHandler(lines)
        return logger

    defs = make({"console": demo})
    with dg.DagsterInstance.get() as instance:
        end_dead_runs(instance)
        chosen = defs.resolve_implicit_global_asset_job_def() if checks else defs.resolve_job_def(job)
        if checks:
            chosen = chosen.get_subset(asset_selection=set(), asset_check_selection=set(checks))
        elif objects:
            chosen = chosen.get_subset(asset_selection=derived_from(objects).resolve(defs.resolve_asset_graph()))
        result = chosen.execute_in_process(
            instance=instance,
            tags=range_tags(first, last) | dict(tags or {}) | {HOST: socket.gethostname(), PROCESS: str(os.getpid())},
            run_config={"loggers": {"console": {}}},
            raise_on_error=False,
        )
        return result.success, result.run_id
