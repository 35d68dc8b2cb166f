"""Generates the change log of a simulated sales organisation, day by day, and finds it again when it is there.

The same configuration gives the same log, byte for byte; a longer simulation begins like a shorter one. What happens on
a day stands in `companies`, `people`, `pipeline` and `activities`; what is written in `journal`.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from crm_platform.sandbox.activities import Diary
from crm_platform.sandbox.companies import companies_arrive, companies_change, owners_change
from crm_platform.sandbox.config import SandboxConfig
from crm_platform.sandbox.errors import SandboxError
from crm_platform.sandbox.journal import SECOND, SEGMENT_ROWS, Journal
from crm_platform.sandbox.people import people_change
from crm_platform.sandbox.pipeline import deals_change, leads_arrive, leads_change
from crm_platform.sandbox.world import DAY, Day, World

logger = logging.getLogger(__name__)


def generated(
    config: SandboxConfig,
    *,
    progress: Callable[[int, int], None] | None = None,
    segment_rows: int = SEGMENT_ROWS,
) -> Path:
    """The folder with the log of a sandbox; generates it unless an equal one is there.

    Args:
        config: What is simulated.
        progress: Told after each simulated day: days done, days in all.
        segment_rows: Rows after which memory is emptied into a file.

    Raises:
        SandboxError: The log cannot be written there.
    """
    folder = config.folder / config.fingerprint
    if (folder / "index.json").exists():
        return folder
    draft = config.folder / f".{config.fingerprint}.{os.getpid()}"
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir()
        simulate(config, Journal(draft, late=config.faults.late_commits, segment_rows=segment_rows), progress=progress)
    except OSError as broken:
        shutil.rmtree(draft, ignore_errors=True)
        raise SandboxError.unwritable(config.folder, broken.strerror or type(broken).__name__) from broken
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / "index.json").exists():
            raise
        shutil.rmtree(draft)
    return folder


def simulate(config: SandboxConfig, journal: Journal, *, progress: Callable[[int, int], None] | None = None) -> None:
    """Lives through all days and writes what changes."""
    days = config.days + config.extra_days
    world = World(config.accounts, config.days, config.faults, journal)
    diary = Diary()
    start = round(config.starts_at.timestamp()) * SECOND
    for number in range(days):
        day = Day(number, start + number * DAY, np.random.default_rng([config.seed, number]))
        owners_change(world, day)
        companies_change(world, day)
        people_change(world, day)
        leads_change(world, day)
        deals_change(world, day)
        diary.begin(day)
        diary.change(world, day)
        diary.log(world, day)
        companies_arrive(world, day)
        leads_arrive(world, day)
        journal.end_of_day(day.start + DAY)
        if progress:
            progress(number + 1, days)
    journal.end_of_day(np.iinfo(np.int64).max, last=True)
    journal.finish({"start": start, "end": start + days * DAY})
    size = json.dumps({"events": journal.offset, "rows": journal.written})
    logger.info("simulated %d days: %s", days, size)
