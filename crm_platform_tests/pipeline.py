"""Runs the whole graph over a small sandbox, for tests of several rooms at once; also as a process that can be killed."""

import datetime as dt
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.console import Console

from crm_platform.defs.demo import materialize
from crm_platform.defs.jobs import EVERYTHING
from crm_platform.defs.running import StepLines
from crm_platform.defs.sandboxed import VARIABLES, dagster_home
from crm_platform.defs.settings import Settings, load_settings
from crm_platform.lake import Lake, fingerprint
from crm_platform.sandbox import SandboxConfig, running

FIRST = dt.date(2026, 3, 1)
VOLATILE = ("_ingested_at", "recorded_at", "since", "resolved_at")
"""What two equal runs may differ in: the real clock."""


def settings_in(folder: Path, base_url: str, days: int) -> Settings:
    """Settings over a folder of its own, whose lake covers some days of the sandbox at base_url."""
    last = FIRST + dt.timedelta(days=days - 1)
    path = folder / "crm_platform.yaml"
    path.write_text(
        f"source: sandbox\nlake: lake\nfirst_day: {FIRST}\nlast_day: {last}\nconnection: {{base_url: '{base_url}'}}\n",
        encoding="utf-8",
    )
    return load_settings(path)


def sandbox_of(folder: Path, *, days: int, accounts: int = 40, **more: object) -> SandboxConfig:
    """The sandbox CRM that `sandbox_at` serves, its log below a folder."""
    told = {"accounts": accounts, "first_day": FIRST, "days": days, "extra_days": 5, "folder": folder, **more}
    return SandboxConfig.model_validate(told)


@contextmanager
def sandbox_at(folder: Path, *, days: int, accounts: int = 40, **more: object) -> Iterator[str]:
    """A sandbox CRM on loopback, its credentials in the environment."""
    with running(sandbox_of(folder, days=days, accounts=accounts, **more)) as address:
        os.environ.update(zip(VARIABLES, (address.client_id, address.client_secret), strict=True))
        yield address.base_url


def run_days(settings: Settings, first: dt.date, last: dt.date, *, job: str = EVERYTHING) -> bool:
    """One run over a range of days; whether it succeeded. A failure's lines are printed for pytest."""
    dagster_home(settings)
    said = io.StringIO()
    ok, _ = materialize(settings, first, last, StepLines(Console(file=said, width=400)), job=job)
    if not ok:
        sys.stderr.write(said.getvalue())
    return ok


def contents(lake: Lake, *, without: tuple[str, ...] = ()) -> dict[str, tuple[int, int, int]]:
    """Every table's content, whatever the order of its rows, without what the real clock wrote and some columns.

    Closing states are left out: which there are depends on when something was built, and nothing depends on them.
    """
    dropped = (*VOLATILE, *without)
    told = [table for table in lake.tables() if not table.startswith("state/")]
    return {table: fingerprint(lake.scan(table).drop(dropped, strict=False)) for table in told}


def versions(lake: Lake) -> dict[str, int | None]:
    """Every table's Delta version."""
    return {table: lake.version(table) for table in lake.tables()}


def frame(lake: Lake, table: str) -> pl.DataFrame:
    """A whole table."""
    return lake.scan(table).collect()


if __name__ == "__main__":
    chosen = load_settings(Path(sys.argv[1]))
    print("running", flush=True)  # noqa: T201  tells the parent that it may kill
    sys.exit(0 if run_days(chosen, chosen.first_day, chosen.last_day or chosen.first_day) else 1)
