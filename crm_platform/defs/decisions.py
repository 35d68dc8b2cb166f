"""What people decide about rows, days and sets that are held back; every decision is written to the audit log."""

import datetime as dt
from pathlib import Path

import polars as pl

from crm_platform.contracts import QUARANTINE
from crm_platform.defs.platform import Platform
from crm_platform.defs.settings import SettingsError, load_settings
from crm_platform.features.gated import Override, training_set
from crm_platform.features.shelf import PARQUET
from crm_platform.lake import Lake, audit
from crm_platform.landing import (
    discard_quarantined,
    lost_range,
    release_quarantined,
    restore,
    skip_range,
    skip_snapshot,
)

LANDED = ("landing/changes", "landing/snapshot", "quarantine")


def skip_day(config: Path | None, object_name: str, day: dt.date, by: str) -> None:
    """Lets a day go without a snapshot of an object."""
    platform = Platform.from_settings(load_settings(config))
    platform.manifest.spec(object_name)
    lake = platform.lake()
    skip_snapshot(lake, object_name, day)
    audit(
        lake,
        actor=by,
        action="snapshot.skip",
        subject=f"landing/snapshot/{object_name}",
        detail={"day": day.isoformat()},
    )


def restore_landing(config: Path | None, table: str, by: str, *, give_up: bool) -> str:
    """Lands once more what a table of what landed has lost, or gives it up; says what became of it and what comes next."""
    platform = Platform.from_settings(load_settings(config))
    if table not in (landed := [f"{room}/{name}" for room in LANDED for name in platform.manifest.objects]):
        raise SettingsError.not_landed(table, landed)
    lake = platform.lake()
    with platform.connected() as source:
        report = restore(
            lake, source, platform.manifest, platform.contracts, table, by=by, give_up=give_up
        )  # fmt: skip
    if not report.lost:
        return f"{table} has lost nothing."
    gone = sum(file.rows for file in report.lost)
    said = f"{table} forgets {len(report.lost)} files of {gone:,} rows; {report.rows:,} rows were read again."
    if not report.days:
        return said
    name, days = table.rsplit("/", maxsplit=1)[-1], ", ".join(map(str, report.days))
    if table.startswith("landing/snapshot"):
        without = f" or run `crm-platform snapshot skip DAY --object {name}`" if give_up else ""
        return f"{said} Materialize {table} for {days}{without}."
    if table.startswith("landing/changes") and give_up:
        return (
            f"{said} What was built from them stands as long as nobody rebuilds {days}. Materialize landing/snapshot/{name} "
            "where the CRM can be exported: its repairs say what it shows by now."
        )
    return f"{said} Now run: crm-platform rebuild --from {report.days[0]}"


def open_training(config: Path | None, name: str, identity: str | None, why: str | None, by: str) -> str:
    """Where a training set lies and what it holds, if its gate lets it be read, or somebody says why it shall be."""
    lake = Platform.from_settings(load_settings(config)).lake()
    override = None if why is None else Override(by=by, why=why)
    found = training_set(lake, name, identity, override=override)
    outdated = f"; superseded: {', '.join(found.superseded)} changed since" if found.superseded else ""
    return (
        f"{name} {found.manifest.id}: {found.frame.height:,} rows, {len(found.manifest.features)} features{outdated}\n"
        f"{found.path / PARQUET}"
    )


def waiting_rows(config: Path | None) -> pl.DataFrame:
    """How many rows wait in quarantine: object, day, rule, column, rows."""
    platform = Platform.from_settings(load_settings(config))
    lake = platform.lake()
    return pl.concat([_waiting(lake, name) for name in platform.manifest.objects])


def release_rows(config: Path | None, object_name: str, by: str) -> str:
    """Releases the rows of an object that keep their contract by now; says how many did and how many still wait."""
    platform = Platform.from_settings(load_settings(config))
    platform.manifest.spec(object_name)
    lake = platform.lake()
    report = release_quarantined(lake, platform.manifest, platform.contracts, object_name, released_by=by)
    told = f"{report.released} rows of {object_name} released, {report.refused} still break their contract."
    return told + (f" Now run: crm-platform rebuild --from {report.days[0]}" if report.days else "")


def discard_rows(config: Path | None, object_name: str, rule: str, why: str, by: str) -> str:
    """Gives up the rows of an object that wait by a rule; says how many."""
    platform = Platform.from_settings(load_settings(config))
    platform.manifest.spec(object_name)
    rows = discard_quarantined(platform.lake(), object_name, rule, discarded_by=by, why=why)
    if not rows:
        return f"No row of {object_name} waits by “{rule}”. `crm-platform quarantine list` shows the rules."
    return (
        f"{rows} rows of {object_name} discarded. Now run: crm-platform check landing/changes/{object_name} quarantine"
    )


def skip_lost(config: Path | None, by: str) -> str:
    """Has landing go on behind what the feed lost, if it lost anything; says which stretch that is."""
    platform = Platform.from_settings(load_settings(config))
    lake = platform.lake()
    with platform.connected() as source:
        lost = lost_range(lake, source)
    if lost is None:
        return "The feed holds what comes next: nothing is lost, and nothing was skipped."
    skip_range(lake, lost)
    detail = {"from_offset": lost.from_offset, "to_offset": lost.to_offset}
    audit(lake, actor=by, action="feed.skip", subject="landing/ranges", detail=detail)
    return (
        f"The feed goes on after offset {lost.to_offset}; what came after {lost.from_offset or 'its start'} is lost to it. "
        "Now materialize landing/changes/*, landing/snapshot/* and what follows from them: the snapshots repair history."
    )


def _waiting(lake: Lake, object_name: str) -> pl.DataFrame:
    rows = lake.scan(f"quarantine/{object_name}", schema=QUARANTINE).filter(pl.col("resolved_by").is_null())
    counted = rows.group_by("processed_date", "rule", "column").len("rows").sort("processed_date", "rule", "column")
    return counted.select(pl.lit(object_name).alias("object"), "processed_date", "rule", "column", "rows").collect()
