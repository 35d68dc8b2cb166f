"""Runs of one job at the same time, each in a process of its own, and over days of its own.

In threads of one process they stand still for ever: Dagster configures Python's logging anew for every run, and holds the
lock of all loggers while it waits for that of a handler through which another run is just storing an event. The processes
are forked from one that has imported everything and done nothing.
"""

import datetime as dt
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dagster as dg

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import INCREMENT
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import load_settings

TABLES = ("history/lead", "history/activity", "history/merges", "current/lead", "features/lead")
"""What is derived from what they land: one table of every kind, and what those read."""


def run_until(config: Path, end: dt.date) -> list[str]:
    """Lands the feed up to an end, and derives some tables of it from the first day on; why that failed, by line."""
    settings = load_settings(config)
    dagster_home(settings)
    graph = build_defs(settings).resolve_job_def(INCREMENT)
    landed = {key for key in graph.asset_layer.selected_asset_keys if key.path[0] == "landing"}
    derived = {dg.AssetKey(table.split("/")) for table in TABLES}
    job = graph.get_subset(asset_selection=landed | derived, asset_check_selection=set())
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance, tags=range_tags(settings.first_day, end), raise_on_error=False
        )
    return [f"{event.step_key}: {event.event_specific_data}" for event in result.all_events if event.is_failure]


def run_all(config: Path, ends: Sequence[dt.date]) -> list[str]:
    """All of them at once; why runs failed, by line."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(len(ends), mp_context=context) as processes:
        return [line for lines in processes.map(run_until, [config] * len(ends), ends) for line in lines]
