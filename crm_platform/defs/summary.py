"""What a run and a lake come to, for people: checks, rows per table, lateness, red days, training sets."""

import datetime as dt
from itertools import groupby

import dagster as dg
import polars as pl
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from crm_platform.defs.platform import Platform
from crm_platform.defs.settings import Settings
from crm_platform.defs.training import scores_of
from crm_platform.features.gated import GateError, training_set
from crm_platform.history.report import lateness
from crm_platform.lake import Lake, layout_of, red_partitions


def print_checks(run_id: str, console: Console) -> bool:
    """Prints what the checks of a run said, a line per check, then each that failed; whether all held."""
    with dg.DagsterInstance.get() as instance:
        events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    said = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    whole = sorted((one for one in said if one.partition is None), key=lambda one: one.check_name)
    by_day = len(said) - len(whole)
    shown = Table(
        "check", "tables", "held", "rows", title=f"{len(whole)} checks, {by_day:,} evaluations of single days"
    )
    for name, ours in groupby(whole, key=lambda one: one.check_name):
        held = list(ours)
        passed = sum(one.passed for one in held)
        mark = "[green]✓ all[/green]" if passed == len(held) else f"[red]{passed} of {len(held)}[/red]"
        shown.add_row(name, str(len(held)), mark, f"{sum(_rows_of(one) for one in held):,}")
    console.print(shown)
    for one in whole:
        if not one.passed:
            color = "yellow" if one.severity == dg.AssetCheckSeverity.WARN else "red"
            console.print(f"[{color}]{one.asset_key.to_user_string()}[/{color}] {one.description}")
            console.print(f"  run again: [bold]{one.metadata['run_again'].value}[/bold]", highlight=False)
    return all(one.passed for one in whole)


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
            spans = (_span(row[of]) for of in ("late_p50", "late_p99", "late_max"))
            late.add_row(name, f"{row['changes']:,}", f"{row['late']:,}", *spans)
    console.print(late)
    for one in red_partitions(lake):
        console.print(f"[red]RED[/red] {one.asset} {one.day}: {one.check} since {one.since:%Y-%m-%d %H:%M} UTC")
    for name in platform.manifest.training:
        _print_training(lake, name, console)


def _print_training(lake: Lake, name: str, console: Console) -> None:
    try:
        held = training_set(lake, name)
    except GateError as refused:
        console.print(f"[red]{refused}[/red]", highlight=False)
        return
    rows, told = held.frame.height, held.manifest
    console.print(
        f"Training set [bold]{name}[/bold] {told.id}: {rows:,} rows, {len(told.features)} features\n  {held.path}"
    )
    if rows:
        positive = int(held.labels.sum())
        first, last = (f"{moment:%Y-%m-%d}" for moment in (held.frame["as_of"].min(), held.frame["as_of"].max()))
        console.print(f"  asked about {first} to {last}; {positive:,} positive labels ({positive / rows:.1%})")
        console.print(Markdown(scores_of(lake, held)))
    else:
        console.print("  no outcome can be known yet: the days do not reach beyond the label's horizon")


def _rows_of(one: dg.AssetCheckEvaluation) -> int:
    looked_at = one.metadata.get("total_rows")
    return looked_at.value or 0 if isinstance(looked_at, dg.IntMetadataValue) else 0


def _days(lake: Lake, name: str) -> str:
    days = lake.days(name) if layout_of(name).partition else []
    return f"{days[0]} – {days[-1]}" if days else ""


def as_table(frame: pl.DataFrame, title: str) -> Table:
    """A frame as a table for the terminal."""
    shown = Table(*frame.columns, title=title)
    for row in frame.iter_rows():
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown


def _span(length: dt.timedelta | None) -> str:
    """A length of time in the unit people would use."""
    if length is None:
        return "–"
    seconds = length.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
