"""How a table of the lake is an asset: the settings that all of them share, and the body of those built day by day.

What a table is made of is said where it is declared (`landing`, `history`, `features`, `training`); what a body reports of
it in `report`.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from crm_platform.contracts import Contract
from crm_platform.defs.code import Declared, code_of
from crm_platform.defs.days import SINGLE_RUN, days_of
from crm_platform.defs.over_time import DAYS as PICTURED
from crm_platform.defs.over_time import with_picture
from crm_platform.defs.platform import CODE_VERSION, Platform
from crm_platform.defs.report import Built, built, lineage, made_of, written
from crm_platform.features.lineage import Sources
from crm_platform.lake import Lake, lost_files
from crm_platform.landing import closed_days, covered_days, explained, watermark

DELTA = frozenset({"delta", "polars"})
Facts = Mapping[dt.date, Mapping[str, Any]]


def table_spec(
    table: str,
    *,
    group: str,
    description: str,
    columns: dg.TableSchema | None = None,
    sources: Sources | None = None,
    deps: Iterable[Any] = (),
    days: dg.PartitionsDefinition | None = None,
    kinds: Iterable[str] = DELTA,
    due: dg.AutomationCondition[Any] | None = None,
    code: Sequence[Declared],
) -> dg.AssetSpec:
    """What Dagster shows of a table before it is written.

    Args:
        table: The table's name in the lake, which is its key.
        group: The group it is shown in.
        description: What one row is, in a sentence.
        columns: Its columns; None where it has none of its own.
        sources: By column, the columns of other assets that it is made from.
        deps: What it is made from.
        days: Its partitions; None for a table that is written as a whole.
        kinds: What it is stored as and made with.
        due: When it is requested by itself; None where a sensor, a schedule or a person does.
        code: What declares it and what builds it.
    """
    told = code_of(code)
    if columns is not None:
        told["dagster/column_schema"] = columns
    if sources:
        told["dagster/column_lineage"] = lineage(sources)
        told["columns_made_of"] = dg.MetadataValue.md(made_of(sources))
    return dg.AssetSpec(
        table.split("/"),
        deps=deps,
        partitions_def=days,
        group_name=group,
        kinds=set(kinds),
        code_version=CODE_VERSION,
        description=description,
        metadata=told,
        automation_condition=due,
    )


def asset_of(spec: dg.AssetSpec) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """Makes a body the one writer of a table: in a pool of its own, and over a range of days in one run."""
    name = spec.key.to_python_identifier()
    by_window = None if spec.partitions_def is None else SINGLE_RUN
    return dg.multi_asset(specs=[spec], name=name, pool="_".join(spec.key.path), backfill_policy=by_window)


def read_by(spec: dg.AssetSpec) -> list[str]:
    """The tables that a table's body reads."""
    read = ["/".join(dep.asset_key.path) for dep in spec.deps]
    waiting = [one.replace("landing/changes", "quarantine") for one in read if one.startswith("landing/changes")]
    return [*read, *waiting]


@dataclass(frozen=True)
class Asked:
    """What a build over days is given beside the days."""

    lake: Lake
    contracts: Mapping[str, Contract]
    first_day: dt.date
    watermark: dt.datetime
    tell: Callable[[str], None]


def built_by_day(
    spec: dg.AssetSpec,
    build: Callable[[Asked, Sequence[dt.date]], Built],
    stale_from: Callable[[Asked, dt.date], dt.date | None],
    *,
    late_in: Sequence[str],
    seen_in: Callable[[Lake, Sequence[dt.date]], Facts] | None = None,
) -> dg.AssetsDefinition:
    """A table whose days are built one upon the other, and all of a run's days at once.

    The days that the watermark has entered are built. Where something has come for an earlier day since that was built,
    the build begins there: state carries over. It goes on through the last day whose files cannot be read.

    Args:
        spec: The table.
        build: Builds a stretch of days.
        stale_from: The earliest day that is not any more what it would be built as, if it is one before the day asked for;
            later ones need not be looked at.
        late_in: The tables whose rows tell how late it was recorded what a day is made of.
        seen_in: Facts read off the days that are over and in a picture of the newest one; None where there are none.
    """

    @asset_of(spec)
    def body(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[Any]:
        lake = platform.lake(context.run.run_id)
        reached = watermark(lake)
        days = covered_days(days_of(context), reached)
        if reached is None or not days:
            context.log.info("the feed has not reached any of these days yet: nothing to build")
            yield from written(spec.key, {})
            return
        asked = Asked(lake, platform.contracts, platform.first, reached, context.log.info)
        lost = lost_files(lake, "/".join(spec.key.path))
        gone = {file.part for file in lost}
        for file in lost:
            context.log.warning(f"{file}: its day is built again")  # noqa: G004
        with explained(lake, read_by(spec)):
            stale = stale_from(asked, days[0]) if days[0] > platform.first else None
            begin = max(min(filter(None, (stale, days[0]))), platform.first)
            if begin < days[0]:
                context.log.info(f"{begin} is not what has landed by now comes to: building from there")  # noqa: G004
            last = max(day for day in platform.days_until(reached) if day == days[-1] or day in gone)
            window = [begin + dt.timedelta(days=n) for n in range((last - begin).days + 1)]
            report = build(asked, window)
            told = built(context, lake, report, asked=set(days), watermark=reached, late_in=late_in)
            pictured = [day for day in closed_days(told, reached) if day > reached.date() - dt.timedelta(days=PICTURED)]
            for day, facts in seen_in(lake, pictured).items() if seen_in and pictured else ():
                told[day] |= facts
        yield from written(spec.key, with_picture(context.instance, spec.key, told))

    return body
