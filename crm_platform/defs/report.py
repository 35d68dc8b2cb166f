"""What a body tells Dagster of what it wrote: one materialization per day, and an output that says no more than that.

Metadata is made here, from reports of the rooms below; what happened is decided there.
"""

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dagster as dg
import polars as pl
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from crm_platform.contracts import Contract
from crm_platform.defs.days import days_of
from crm_platform.history.build import BuildReport
from crm_platform.lake import Commit, Lake
from crm_platform.landing import covered_days, watermark

QUIET = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Makes an output pass without the event that would mark the whole requested range as written (ADR 4)."""


def written(
    asset_key: dg.AssetKey, days: Mapping[dt.date, Mapping[str, Any]], output_name: str = "result"
) -> Iterator[dg.AssetMaterialization | dg.Output[None]]:
    """One materialization per day that was really written or found equal, then the output that lets the rest go on."""
    for day, facts in sorted(days.items()):
        yield dg.AssetMaterialization(asset_key=asset_key, partition=day.isoformat(), metadata=shown(facts))
    yield dg.Output(None, output_name=output_name, metadata=QUIET)


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


def column_schema(schema: pl.Schema, contract: Contract | None = None) -> dg.TableSchema:
    """A table's columns with their types, meanings and PII classes."""
    meaning = {} if contract is None else contract.meaning
    pii = {} if contract is None else contract.pii
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=name,
                type=str(dtype),
                description=meaning.get(name),
                tags={"pii": pii[name]} if pii.get(name, "none") != "none" else {},
            )
            for name, dtype in schema.items()
        ]
    )


def lineage(columns: Mapping[str, list[tuple[list[str], str]]]) -> dg.TableColumnLineage:
    """Which columns of which assets every column comes from."""
    return dg.TableColumnLineage(
        deps_by_column={
            name: [dg.TableColumnDep(asset_key=dg.AssetKey(key), column_name=column) for key, column in sources]
            for name, sources in columns.items()
        }
    )


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


def over_covered_days(
    context: dg.AssetExecutionContext,
    lake: Lake,
    first_day: dt.date,
    build: Callable[[Sequence[dt.date], dt.datetime], Built],
    stale_from: Callable[[dt.datetime], dt.date | None],
) -> Iterator[Any]:
    """Lets `build` make those of the run's days that the watermark has entered, and reports them.

    Where something has come for an earlier day since that was built, the build begins there: state carries over.
    """
    reached = watermark(lake)
    asked = covered_days(days_of(context), reached)
    if reached is None or not asked:
        context.log.info("the feed has not reached any of these days yet: nothing to build")
        yield from written(context.asset_key, {})
        return
    stale = stale_from(reached) if asked[0] > first_day else None
    begin = max(min(filter(None, (stale, asked[0]))), first_day)
    if begin < asked[0]:
        context.log.info(f"something came for {begin} since it was built: building from there")  # noqa: G004
    days = [begin + dt.timedelta(days=n) for n in range((asked[-1] - begin).days + 1)]
    yield from built(context, build(days, reached), set(asked))


def built(context: dg.AssetExecutionContext, report: Built, asked: Collection[dt.date]) -> Iterator[Any]:
    """What a build tells Dagster: a materialization per day that was asked for or rewritten, and why it stopped."""
    rewritten = set(report.commit.days) if report.commit is not None else set[dt.date]()
    if report.blocked is not None:
        context.log.warning("%s stops before %s: that day is red, see the table gate/red", report.table, report.blocked)
    lateness = report.lateness if isinstance(report, BuildReport) else pl.DataFrame()
    late = {row["processed_date"]: row for row in lateness.iter_rows(named=True)}
    told = {
        day: {
            "rows": report.rows.get(day, 0),
            "delta_version": report.version,
            "rewritten": day in rewritten,
            **{name: fact for name, fact in late.get(day, {}).items() if name.startswith("late")},
        }
        for day in report.days
        if day in asked or day in rewritten
    }
    yield from written(context.asset_key, told)
