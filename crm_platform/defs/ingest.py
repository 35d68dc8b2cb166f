"""Landing a recorded log and building what follows from it, without Dagster: the same functions, in the same order."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from crm_platform.contracts import contracts_in
from crm_platform.defs.platform import CODE_VERSION
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.training import build_training_set
from crm_platform.history.build import build_current, build_history, build_merges
from crm_platform.lake import Lake
from crm_platform.landing import land_changes, watermark
from crm_platform.quality.training_gate import judged_by_all
from crm_platform.sources import load_manifest, recorded_log


def run_ingest(
    source: str, log: Path, root: Path, *, features: bool, console: Console, tell: Callable[[str], None]
) -> None:
    """Lands the log, builds history, merges and current tables, and with `features` timelines and training sets."""
    manifest = load_manifest(source)
    contracts = contracts_in(manifest.contracts)
    lake = Lake(root, metadata={"code_version": CODE_VERSION})
    before = {table: lake.version(table) for table in lake.tables()}
    recorded = recorded_log(log, manifest)
    end = recorded.head().time + dt.timedelta(microseconds=1)
    land_changes(lake, recorded, manifest, contracts, until=end, progress=tell)
    reached = watermark(lake)
    parts = (day for name in manifest.objects for day in lake.days(f"landing/changes/{name}"))
    landed = [day for day in parts if isinstance(day, dt.date)]
    if reached is None or not landed:
        tell("The log holds no change of the manifest's objects: nothing to build.")
        return
    days = _all_days(min(landed), reached.date())
    for name in manifest.objects:
        build_history(lake, manifest, contracts, name, days, watermark=reached, progress=tell)
    build_merges(lake, manifest, contracts, days, progress=tell)
    for name in manifest.objects:
        build_current(lake, manifest, contracts, name, watermark=reached)
    if features:
        for bound in views_for(manifest, contracts).values():
            build_features(lake, manifest, contracts, bound, days, watermark=reached, progress=tell)
        for name in manifest.training:
            build_training_set(lake, manifest, name, watermark=reached, progress=tell)
            for result in judged_by_all(lake, name):
                tell(result.summary())
    console.print(_table(lake, before))


def _all_days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]


def _table(lake: Lake, before: dict[str, int | None]) -> Table:
    shown = Table("table", "rows", "version", "this run", title=f"The lake at {lake.root}")
    for name in lake.tables():
        version = lake.version(name)
        news = "unchanged" if version == before.get(name) else "written"
        shown.add_row(name, f"{lake.rows(name):,}", str(version), news)
    return shown
