"""What a body tells Dagster of what it wrote: one materialization per day, and an output that says no more than that.

Metadata is made here, from reports of the rooms below; what happened is decided there.
"""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg
import polars as pl
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from crm_platform.contracts import UTC_US, Contract
from crm_platform.contracts.envelope import PAYLOAD_COLUMNS, PROVENANCE_COLUMNS, SNAPSHOT_COLUMNS, VERSION_COLUMNS
from crm_platform.features.lineage import Sources
from crm_platform.history.report import lateness
from crm_platform.lake import Commit, Lake, red_partitions
from crm_platform.quality.result import Markdown

QUIET = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Makes an output pass without the event that would mark the whole requested range as written (ADR 4)."""

SHARED = {
    name: column.meaning
    for hop in (VERSION_COLUMNS, PAYLOAD_COLUMNS, PROVENANCE_COLUMNS, SNAPSHOT_COLUMNS)
    for name, column in hop.items()
}
"""What the columns mean that all objects share."""


def written(
    asset_key: dg.AssetKey, days: Mapping[dt.date, Mapping[str, Any]]
) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
    """One materialization per day that was really written or found equal, then the output that lets the rest go on."""
    for day, facts in sorted(days.items()):
        yield dg.AssetMaterialization(asset_key=asset_key, partition=day.isoformat(), metadata=shown(facts))
    yield dg.Output(None, output_name=asset_key.to_python_identifier(), metadata=QUIET)


def shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as Dagster metadata: row counts under the name the UI plots, moments as text, the rest as it is."""
    told: dict[str, Any] = {}
    for name, fact in facts.items():
        if fact is None:
            continue
        if name == "rows":
            told["dagster/partition_row_count"] = int(fact)
        elif isinstance(fact, dt.datetime):
            told[name] = dg.MetadataValue.timestamp(fact)
        elif isinstance(fact, dt.timedelta):
            told[f"{name}_seconds"] = fact.total_seconds()
        elif isinstance(fact, pl.DataFrame):
            told[name] = dg.MetadataValue.md(table(fact))
        elif isinstance(fact, Markdown):
            told[name] = dg.MetadataValue.md(fact.text)
        elif isinstance(fact, dt.date):
            told[name] = fact.isoformat()
        else:
            told[name] = fact
    return told


def table(frame: pl.DataFrame, most: int = 20) -> str:
    """The first rows of a frame as a Markdown table."""
    head = frame.head(most)
    lines = [" | ".join(head.columns), " | ".join("---" for _ in head.columns)]
    lines += [" | ".join("" if cell is None else str(cell) for cell in row) for row in head.rows()]
    rest = frame.height - head.height
    return "\n".join(f"| {line} |" for line in lines) + (f"\n\n… and {rest} more" if rest > 0 else "")


def column_schema(
    schema: pl.Schema, contract: Contract | None = None, meaning: Mapping[str, str] | None = None
) -> dg.TableSchema:
    """A table's columns with their types, meanings and PII classes.

    Args:
        schema: Names and types.
        contract: What its object's own columns mean.
        meaning: What its other columns mean, where the envelope that all objects share does not say it.
    """
    told = SHARED | ({} if contract is None else contract.meaning) | dict(meaning or {})
    pii = {} if contract is None else contract.pii
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(dtype),
                description=told.get(name),
                tags={"pii": pii[name]} if pii.get(name, "none") != "none" else {},
            )
            for name, dtype in schema.items()
        ]
    )


def lineage(columns: Sources) -> dg.TableColumnLineage:
    """Which columns of which assets every column comes from."""
    return dg.TableColumnLineage(
        deps_by_column={
            name: [
                dg.TableColumnDep(asset_key=dg.AssetKey(table.split("/")), column_name=column) for table, column in read
            ]
            for name, read in columns.items()
        }
    )


def made_of(columns: Sources) -> str:
    """The same as a Markdown table: the open-source UI keeps lineage of columns and shows it nowhere."""
    lines = [
        {"column": f"`{name}`", "made of": ", ".join(f"`{table}.{column}`" for table, column in read)}
        for name, read in columns.items()
    ]
    return table(pl.DataFrame(lines), len(lines))


class Built(Protocol):
    """What every build over days reports."""

    @property
    def table(self) -> str: ...  # noqa: D102
    @property
    def days(self) -> tuple[dt.date, ...]: ...  # noqa: D102
    @property
    def rows(self) -> Mapping[dt.date, int]: ...  # noqa: D102
    @property
    def version(self) -> int | None: ...  # noqa: D102
    @property
    def commit(self) -> Commit | None: ...  # noqa: D102
    @property
    def blocked(self) -> dt.date | None: ...  # noqa: D102


def built(
    context: dg.AssetExecutionContext,
    lake: Lake,
    report: Built,
    *,
    asked: Collection[dt.date],
    watermark: dt.datetime,
    late_in: Sequence[str],
) -> dict[dt.date, dict[str, Any]]:
    """The facts of every day that a build was asked for or rewrote; why it stopped is logged."""
    rewritten = set(report.commit.days) if report.commit is not None else set[dt.date]()
    if report.blocked is not None:
        context.log.warning("%s stops before %s: %s", report.table, report.blocked, _why_red(lake, report.blocked))
    days = [day for day in report.days if day in asked or day in rewritten]
    late = late_by_day(lake, late_in, days)
    return {
        day: {
            "rows": report.rows.get(day, 0),
            "delta_version": report.version,
            "rewritten": day in rewritten,
            "watermark": watermark,
            **late.get(day, {}),
        }
        for day in days
    }


def _why_red(lake: Lake, day: dt.date) -> str:
    """Which checks hold a day back, its own or else those of the last red day before it, and what they found."""
    reds = [red for red in red_partitions(lake) if red.day <= day]
    last = max((red.day for red in reds), default=day)
    found = [f"{red.asset} of {last} is red by {red.check} ({red.detail})" for red in reds if red.day == last]
    return "; ".join(found) or "its own check will say why"


RECORDED = pl.Schema(
    {"processed_date": pl.Date(), "event_time": UTC_US, "processed_time": UTC_US, "source_position": pl.String()}
)


def late_by_day(lake: Lake, tables: Sequence[str], days: Sequence[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """How late it was recorded what some tables hold, day by day: `late` rows, and their `late_p50, late_p99, late_max`."""
    rows = pl.concat([lake.scan(table, days=days, schema=RECORDED) for table in tables])
    placed = rows.with_columns(pl.col("source_position").fill_null(""))  # a merge fact has none
    found = lateness(placed.collect()).drop("changes")
    return {row.pop("processed_date"): row for row in found.iter_rows(named=True)}


def landing_lag(lake: Lake, object_name: str, days: Sequence[dt.date]) -> dict[dt.date, dict[str, Any]]:
    """How long after its end an export landed, day by day: `lag`; large wherever an old day was exported later."""
    schema = pl.Schema({"snapshot_date": pl.Date(), "finished_at": UTC_US, "_ingested_at": UTC_US})
    rows = lake.scan(f"landing/snapshot/{object_name}", days=days, schema=schema)
    lag = (pl.col("_ingested_at") - pl.col("finished_at")).max().alias("lag")
    found = rows.group_by("snapshot_date").agg(lag).collect()
    return {row.pop("snapshot_date"): row for row in found.iter_rows(named=True)}
