"""What a run and a lake come to, for people: checks, rows per table, lateness, red days, training sets."""

import dagster as dg
import polars as pl
from rich.console import Console
from rich.table import Table

from crm_platform.defs.platform import Platform
from crm_platform.defs.settings import Settings
from crm_platform.features.training import training_set
from crm_platform.history.build import lateness
from crm_platform.lake import Lake, red_partitions


def print_checks(run_id: str, console: Console) -> None:
    """Prints what every check of a run said, the failed ones first."""
    with dg.DagsterInstance.get() as instance:
        events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    said = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    whole = [one for one in said if one.partition is None]
    by_day = sum(one.partition is not None for one in said)
    shown = Table(
        "check", "table", "", "says", title=f"Checks: {len(whole)}, and {by_day:,} evaluations of single days"
    )
    for one in sorted(whole, key=lambda one: (one.passed, one.check_name, one.asset_key.to_user_string())):
        mark = "[green]✓[/green]" if one.passed else "[yellow]![/yellow]" if _warns(one) else "[red]✗[/red]"
        shown.add_row(one.check_name, one.asset_key.to_user_string(), mark, one.description or "")
    console.print(shown)


def print_summary(settings: Settings, console: Console) -> None:
    """Prints what the lake of the settings holds."""
    platform = Platform.from_settings(settings)
    lake = platform.lake()
    tables = Table("table", "rows", "days", "version", title=f"The lake at {lake.root}")
    for name in lake.tables():
        tables.add_row(name, f"{lake.rows(name):,}", _days(lake, name), str(lake.version(name)))
    console.print(tables)
    late = Table("object", "changes", "recorded late", "median", "p99", "most", title="Lateness: recorded − happened")
    for name in platform.manifest.objects:
        history = lake.scan(f"history/{name}", schema=platform.contracts[name].history_schema).collect()
        for row in lateness(history.with_columns(processed_date=pl.lit(None, pl.Date))).iter_rows(named=True):
            spans = (str(row[of] or "–") for of in ("late_p50", "late_p99", "late_max"))
            late.add_row(name, f"{row['changes']:,}", f"{row['late']:,}", *spans)
    console.print(late)
    for one in red_partitions(lake):
        console.print(f"[red]RED[/red] {one.asset} {one.day}: {one.check} since {one.since:%Y-%m-%d %H:%M} UTC")
    for name in platform.manifest.training:
        _print_training(lake, name, console)


def _print_training(lake: Lake, name: str, console: Console) -> None:
    held = training_set(lake, name)
    rows, positive = held.frame.height, int(held.labels.sum())
    told = held.manifest
    console.print(
        f"Training set [bold]{name}[/bold] {told.id}: {rows:,} rows, {len(told.features)} features, "
        f"{positive:,} positive labels ({positive / max(rows, 1):.1%}); moments asked about "
        f"{held.frame['as_of'].min():%Y-%m-%d} to {held.frame['as_of'].max():%Y-%m-%d}\n  {held.path}"
    )


def _warns(one: dg.AssetCheckEvaluation) -> bool:
    return one.severity == dg.AssetCheckSeverity.WARN


def _days(lake: Lake, name: str) -> str:
    days = lake.days(name) if lake.is_partitioned(name) else []
    return f"{days[0]} – {days[-1]} ({len(days)})" if days else ""


def as_table(frame: pl.DataFrame, title: str) -> Table:
    """A frame as a table for the terminal."""
    shown = Table(*frame.columns, title=title)
    for row in frame.iter_rows():
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown
