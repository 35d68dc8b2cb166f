"""The demo: the sandbox CRM, the whole graph in one run over all days, and a summary for people."""

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.platform import Platform
from crm_platform.defs.running import StepLines, run_range
from crm_platform.defs.sandboxed import dagster_home, sandbox_of, sandbox_running
from crm_platform.defs.settings import Settings, SettingsError, load_settings
from crm_platform.defs.summary import print_checks, print_summary
from crm_platform.landing import watermark


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


def materialize(
    settings: Settings, first: dt.date, last: dt.date, lines: logging.Handler, **chosen: Any
) -> tuple[bool, str]:
    """Runs the configured CRM's graph, or what is chosen of it, as `running.run_range` does."""
    return run_range(lambda loggers: build_defs(settings, loggers=loggers), first, last, lines, **chosen)
