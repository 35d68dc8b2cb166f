"""Whether a stored timeline knew the future: forgotten and built again, recomputed in SQL, and a leak planted on purpose.

Reads the lake for the checks that stand in `truncation` and `second_opinion`; decides where they look.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from crm_platform.contracts import MERGES, UTC_US, Contract
from crm_platform.features.catalogue import BoundView
from crm_platform.lake import Lake
from crm_platform.landing import watermark
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.second_opinion import judged, second_opinion
from crm_platform.quality.truncation import Inputs, canary, truncation

VERSION = ("entity_id", "event_time", "processed_time", "source_position", "is_tombstone", "changed_fields")
MERGE = ("loser_id", "winner_id", "event_time", "processed_time")
SAMPLED_STEPS = 60
"""How many stored steps a recomputation asks about, each at its instant and just before it."""

SAMPLED_ENTITIES = 200
"""Of how many entities the planted leak is caught."""

JUST_BEFORE = timedelta(microseconds=1)
CLOSE = 1e-9
"""Two floating-point means or deviations are one if they differ by no more than this share."""

REMEDY = (
    "Two computations disagree about a value: do not train on it. Rebuild the day (`crm-platform rebuild --from DAY`); if it "
    "stays, look at the columns named here: either the kernel or the stored table is wrong."
)


def truncated(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, days: Sequence[date]) -> CheckResult:
    """Whether the stored timeline stays as it is up to a moment when all that was known later is dropped.

    Args:
        lake: Where history and timeline stand.
        contracts: The contracts, by object.
        bound: The view.
        days: The days looked at: one cut in the middle of them, and one at each start of a month.

    Returns:
        A finding per cut, under its day.
    """
    table = f"features/{bound.name}"
    reached = watermark(lake)
    cuts = [cut for cut in _cuts(days) if reached is not None and cut < reached]
    if not cuts or not lake.exists(table):
        return CheckResult("leakage_truncation", table, [], REMEDY)
    steps = lake.scan(table).filter(pl.col("known_date") <= max(cuts).date())
    return truncation(inputs_of(lake, contracts, bound), steps, cuts, table=table)


def recomputed(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, days: Sequence[date]) -> CheckResult:
    """Whether DuckDB, from the definitions alone, comes to the stored values on a sample of steps.

    Args:
        lake: Where history and timeline stand.
        contracts: The contracts, by object.
        bound: The view.
        days: The days from which steps are sampled.

    Returns:
        A finding per day that was asked about.
    """
    table = f"features/{bound.name}"
    if not days or not lake.exists(table):
        return CheckResult("leakage_recomputed", table, [], REMEDY)
    stored = lake.scan(table)
    asked = _questions(stored.filter(pl.col("known_date").is_in(list(days))))
    if asked.is_empty():
        return CheckResult("leakage_recomputed", table, [], REMEDY)
    inputs = inputs_of(lake, contracts, bound)
    opinion = second_opinion(
        bound.view,
        asked,
        activities=None if inputs.activities is None else inputs.activities.collect(),
        merges=pl.DataFrame(schema=MERGES).select(MERGE) if inputs.merges is None else inputs.merges.collect(),
        versions=None if inputs.versions is None else inputs.versions.collect(),
    )
    wrong = differing(opinion, stored, judged(bound.view))
    return CheckResult("leakage_recomputed", table, _by_day(asked, wrong), REMEDY)


def planted_leak(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, days: Sequence[date]) -> CheckResult:
    """Whether the truncation check catches a leak that is planted into a sample of the view's own history.

    Args:
        lake: Where history stands.
        contracts: The contracts, by object.
        bound: The view.
        days: The days looked at: the leak is planted in the middle of them.
    """
    table = f"features/{bound.name}"
    if not days:
        return CheckResult("leakage_planted", table, [], REMEDY)
    return canary(_sampled(inputs_of(lake, contracts, bound)), _noon(sorted(days)[len(days) // 2]), table=table)


def inputs_of(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView) -> Inputs:
    """The history that a view reads: just the columns it needs."""

    def history(name: str) -> pl.LazyFrame:
        read = [column for sources in bound.lineage.values() for of, column in sources if of == name]
        keys = [bound.view.key, bound.view.time] if name == bound.activity else []
        columns = list(dict.fromkeys([*VERSION, *(key for key in keys if key), *read]))
        return lake.scan(f"history/{name}", schema=contracts[name].history_schema).select(columns)

    merges = lake.scan("history/merges", schema=MERGES).filter(pl.col("object") == bound.entity)
    return Inputs(
        bound.view,
        activities=None if bound.activity is None else history(bound.activity),
        merges=merges.select(MERGE),
        versions=history(bound.entity),
    )


def differing(opinion: pl.DataFrame, stored: pl.LazyFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Where the stored step in force says something else than the second opinion.

    Returns:
        entity_id, as_of, column: one row per value that differs, sorted.
    """
    named = stored.filter(pl.col("entity_id").is_in(opinion.get_column("entity_id").unique().implode()))
    values = ["is_deleted", *columns]
    steps = named.select("entity_id", "known_at", *(pl.col(name).alias(f"{name}:stored") for name in values)).collect()
    beside = opinion.sort("as_of").join_asof(
        steps.sort("known_at"),
        left_on="as_of",
        right_on="known_at",
        by="entity_id",
        strategy="backward",
        check_sortedness=False,
    )
    differs = [
        pl.when(pl.col("is_known") != pl.col("known_at").is_not_null()).then(pl.lit("is_known")).alias("is_known"),
        *(
            pl.when(
                pl.col("is_known") & pl.col("known_at").is_not_null() & _differ(name, steps.schema[f"{name}:stored"])
            )
            .then(pl.lit(name))
            .alias(name)
            for name in values
        ),
    ]
    return (
        beside.select("entity_id", "as_of", *differs)
        .unpivot(["is_known", *values], index=["entity_id", "as_of"], variable_name="_", value_name="column")
        .drop_nulls("column")
        .select("entity_id", "as_of", "column")
        .sort("as_of", "entity_id", "column")
    )


def _differ(name: str, dtype: pl.DataType) -> pl.Expr:
    ours, theirs = pl.col(f"{name}:stored"), pl.col(name).cast(dtype)
    if dtype.is_float():
        near = (ours - theirs).abs() <= CLOSE * pl.max_horizontal(ours.abs(), pl.lit(1.0))
        return ours.is_null().ne_missing(theirs.is_null()) | ~near.fill_null(value=True)
    return ours.ne_missing(theirs)


def _cuts(days: Sequence[date]) -> list[datetime]:
    ordered = sorted(days)
    months = [datetime.combine(day, time(), UTC) for day in ordered[1:] if day.day == 1]
    return sorted({*months, *([_noon(ordered[len(ordered) // 2])] if ordered else [])})


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def _questions(steps: pl.LazyFrame) -> pl.DataFrame:
    """A sample of steps, the same every time: each asked about at its instant and just before it."""
    by_chance = pl.struct("entity_id", "known_at").hash(seed=17)
    chosen = steps.select("entity_id", "known_at").sort(by_chance).head(SAMPLED_STEPS).collect()
    instants = [pl.col("known_at").alias("as_of"), (pl.col("known_at") - JUST_BEFORE).cast(UTC_US).alias("as_of")]
    return pl.concat([chosen.select("entity_id", instant) for instant in instants]).unique().sort("as_of", "entity_id")


def _sampled(inputs: Inputs) -> Inputs:
    """The inputs of some entities alone: a leak among them is caught as well as among all."""
    key = inputs.view.key
    rows = inputs.versions if inputs.activities is None or key is None else inputs.activities
    if rows is None:
        return inputs
    named = pl.col("entity_id" if inputs.activities is None or key is None else key).alias("id")
    ids = rows.select(named).drop_nulls().unique().sort(pl.col("id").hash(seed=17), "id").head(SAMPLED_ENTITIES)
    versions = inputs.versions
    activities = inputs.activities
    if activities is not None and key is not None:
        mine = activities.join(ids, left_on=key, right_on="id", how="semi").select("entity_id").unique()
        activities = activities.join(mine, on="entity_id", how="semi").collect().lazy()
    if versions is not None:
        versions = versions.join(ids, left_on="entity_id", right_on="id", how="semi").collect().lazy()
    return Inputs(inputs.view, activities, inputs.merges, versions)


def _by_day(asked: pl.DataFrame, wrong: pl.DataFrame) -> list[Finding]:
    findings: list[Finding] = []
    for day in asked.get_column("as_of").dt.date().unique().sort():
        mine = wrong.filter(pl.col("as_of").dt.date() == day)
        total = asked.filter(pl.col("as_of").dt.date() == day).height
        failing = mine.select("entity_id", "as_of").n_unique() if mine.height else 0
        columns = mine.get_column("column").unique().sort().to_list()
        what = f"DuckDB comes to the stored values at {total} moments."
        if columns:
            what = f"DuckDB comes to other values than are stored, in {', '.join(columns[:5])}."
        shown = mine.head(MOST_EXAMPLES) if columns else None
        findings.append(Finding(not columns, what, day=day, failing=failing, total=total, examples=shown))
    return findings
