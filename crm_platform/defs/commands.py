"""What the commands `rebuild`, `check` and `prepare` do: say what that comes to, do it in this process, print what was found."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from rich.console import Console

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.demo import materialize
from crm_platform.defs.jobs import REBUILD
from crm_platform.defs.platform import Platform
from crm_platform.defs.pools import pools_of, prepare
from crm_platform.defs.rebuilding import plan_of, rebuilt
from crm_platform.defs.running import StepLines
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import SettingsError, load_settings
from crm_platform.defs.summary import print_checks
from crm_platform.landing import watermark


def run_rebuild(
    config: Path | None,
    first: dt.date,
    last: dt.date | None,
    objects: Sequence[str],
    *,
    dry_run: bool,
    console: Console,
) -> bool:
    """Says what deriving some days again comes to, and does it unless it is a dry run; whether it all held."""
    settings = load_settings(config)
    dagster_home(settings)
    plan = plan_of(Platform.from_settings(settings), first, last, objects)
    for line in plan.lines():
        console.print(line, highlight=False)
    if dry_run or not plan.days:
        return bool(plan.days)
    lines = StepLines(console)
    runs: list[str] = []

    def run(begin: dt.date, end: dt.date, tags: dict[str, str]) -> bool:
        ok, run_id = materialize(settings, begin, end, lines, job=REBUILD, tags=tags, objects=objects)
        runs.append(run_id)
        return ok

    with dg.DagsterInstance.get() as instance:
        ok = rebuilt(plan, instance, run, lines.tell)
    for run_id in runs[-1:]:
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


def run_prepare(config: Path | None, *, console: Console) -> None:
    """Makes what runs expect of the configured Dagster instance, and says what that was."""
    settings = load_settings(config)
    dagster_home(settings)
    defs = build_defs(settings)
    with dg.DagsterInstance.get() as instance:
        made = prepare(instance, defs)
    console.print(
        f"The Dagster instance is ready: {len(pools_of(defs))} pools, {len(made)} of them new.", highlight=False
    )
