"""The demo: the sandbox CRM, the whole graph in one run over all days, and a summary for people."""

import datetime as dt
import logging
import os
import socket
from collections.abc import Collection
from pathlib import Path

import dagster as dg
from rich.console import Console

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import EVERYTHING, REBUILD
from crm_platform.defs.platform import Platform
from crm_platform.defs.sandboxed import dagster_home, sandbox_of, sandbox_running
from crm_platform.defs.settings import Settings, SettingsError, load_settings
from crm_platform.defs.summary import print_checks, print_summary
from crm_platform.landing import watermark

HOST, PROCESS = "crm_platform/host", "crm_platform/process"
"""Tags that tell which process executes a run."""
OF_THE_ENGINE = ("Dependencies for step", "Skipping step")
"""How Dagster begins the lines on steps that never started; the failed step above them says why."""


class StepLines(logging.Handler):
    """Prints a run's progress as it happens: what bodies say, and each step as it ends."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.DEBUG)
        self.console = console
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
        self.console.print(f"[dim]{dt.datetime.now(dt.UTC):%H:%M:%S}[/dim] {line}", highlight=False)


def run_demo(config: Path | None, *, days: int | None, console: Console) -> bool:
    """Materializes everything for the configured days and says what it found; whether it all held."""
    settings = load_settings(config)
    if settings.last_day is None:
        raise SettingsError.no_sandbox(settings.source)
    last = settings.last_day if days is None else settings.first_day + dt.timedelta(days=days - 1)
    last = min(last, settings.last_day)
    dagster_home(settings)
    lines = StepLines(console)
    with sandbox_running(settings, sandbox_of(settings), lines.tell):
        first = first_to_run(settings, last)
        if first > settings.first_day:
            lines.tell(f"The days before {first} stand already; running {first} to {last}.")
        ok, run_id = materialize(settings, first, last, lines)
        print_checks(run_id, console)
        print_summary(settings, console)
    console.print(
        "\nOpen the same in the Dagster UI: [bold]make dev[/bold], then http://127.0.0.1:3000\n"
        if ok
        else "\n[red]Not everything held[/red]: the lines marked ✗ above say what; `make dev` shows it in the UI.\n"
    )
    return ok


def first_to_run(settings: Settings, last: dt.date) -> dt.date:
    """The first day that an asset lacks; where none is lacking the last day, as a sensor's tick would run it again."""
    if watermark(Platform.from_settings(settings).lake()) is None:
        return settings.first_day
    graph = build_defs(settings).resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        built = [
            instance.get_materialized_partitions(key)
            for key in graph.get_all_asset_keys()
            if graph.get(key).partitions_def is not None
        ]
    every = (settings.first_day + dt.timedelta(days=n) for n in range((last - settings.first_day).days + 1))
    return next((day for day in every if any(day.isoformat() not in days for days in built)), last)


def run_rebuild(config: Path | None, first: dt.date, last: dt.date | None, *, console: Console) -> bool:
    """Derives a stretch of days again from what landed, and says what its checks found; whether it all held."""
    settings = load_settings(config)
    dagster_home(settings)
    reached = watermark(Platform.from_settings(settings).lake())
    if reached is None:
        raise SettingsError.nothing_landed(settings.lake_root)
    end = min(filter(None, (last, settings.last_day, reached.date())))
    ok, run_id = materialize(settings, first, end, StepLines(console), job=REBUILD)
    print_checks(run_id, console)
    return ok


def run_checks(
    config: Path | None, name: str, check: str | None, first: dt.date | None, last: dt.date | None, *, console: Console
) -> bool:
    """Looks at a table again, with one of its checks or all, over some days or all covered ones; whether all held."""
    settings = load_settings(config)
    dagster_home(settings)
    platform = Platform.from_settings(settings)
    asset = dg.AssetKey(name.split("/"))
    of_table = [key for key in build_defs(settings).resolve_asset_graph().asset_check_keys if key.asset_key == asset]
    chosen = [key for key in of_table if check in {None, key.name}]
    if not chosen:
        raise SettingsError.no_check(name, check, sorted(key.name for key in of_table))
    covered = platform.days_until(watermark(platform.lake())) or [settings.first_day]
    begin = first or covered[0]
    ok, run_id = materialize(
        settings, begin, max(begin, last or first or covered[-1]), StepLines(console), checks=chosen
    )
    return print_checks(run_id, console) and ok


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


def materialize(
    settings: Settings,
    first: dt.date,
    last: dt.date,
    lines: logging.Handler,
    *,
    job: str = EVERYTHING,
    checks: Collection[dg.AssetCheckKey] = (),
) -> tuple[bool, str]:
    """Runs a job, or some checks alone, over a range of days in this process; whether it succeeded, and the run's id."""

    @dg.logger
    def demo(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("crm_platform.demo", logging.DEBUG)  # noqa: LOG001  Dagster wants a logger of its own
        logger.addHandler(lines)
        return logger

    defs = build_defs(settings, loggers={"console": demo})
    with dg.DagsterInstance.get() as instance:
        end_dead_runs(instance)
        whole = defs.resolve_implicit_global_asset_job_def() if checks else defs.resolve_job_def(job)
        chosen = whole.get_subset(asset_selection=set(), asset_check_selection=set(checks)) if checks else whole
        result = chosen.execute_in_process(
            instance=instance,
            tags=range_tags(first, last) | {HOST: socket.gethostname(), PROCESS: str(os.getpid())},
            run_config={"loggers": {"console": {}}},
            raise_on_error=False,
        )
        return result.success, result.run_id
