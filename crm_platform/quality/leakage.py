"""Whether a stored timeline knew the future: forgotten and built again, and recomputed in SQL.

Reads the lake for the checks that stand in `truncation` and `second_opinion`; decides where they look. The leak that is
planted on purpose stands in `planted`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from crm_platform.contracts import MERGES, UTC_US, Contract
from crm_platform.features.catalogue import BoundView
from crm_platform.lake import Lake, red_partitions
from crm_platform.landing import watermark
from crm_platform.quality.portions import portions, touching
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.second_opinion import judged, second_opinion
from crm_platform.quality.settled import settled
from crm_platform.quality.truncation import REMEDY as TRUNCATION_REMEDY
from crm_platform.quality.truncation import Differences, Inputs, differences, one_per_day

VERSION = ("entity_id", "event_time", "processed_time", "source_position", "is_tombstone", "changed_fields")
MERGE = ("loser_id", "winner_id", "event_time", "processed_time")
SAMPLED_STEPS = 60
"""How many stored steps a recomputation asks about, each at its instant and just before it."""

ROWS_AT_ONCE = 4_000_000
"""How many versions and steps the check of the whole past holds at once, about."""

JUST_BEFORE = timedelta(microseconds=1)
CLOSE = 1e-9
"""Two floating-point means or deviations are one if they differ by no more than this share."""

REMEDY = (
    "Two computations disagree about a value: do not train on it. Rebuild the day (`crm-platform rebuild --from DAY`); if it "
    "stays, look at the columns named here: either the kernel or the stored table is wrong."
)


def truncated(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, days: Sequence[date]) -> CheckResult:
    """Whether the stored steps of some days stay as they are up to a moment when all that was known later is dropped.

    Every entity is judged that has a step in these days, or should have one; nothing else is built again.

    Args:
        lake: Where history and timeline stand.
        contracts: The contracts, by object.
        bound: The view.
        days: The days looked at: cut in the middle of the middle one, and at the end of what is covered of the last one,
            so that every step of theirs is judged.

    Returns:
        A finding under the day of each cut, or one under each day whose steps knew better.
    """
    table = f"features/{bound.name}"
    if not lake.exists(table):
        return CheckResult("leakage_truncation", table, [], TRUNCATION_REMEDY)
    beside = settled(lake, contracts, bound)
    looked_at = beside.judged(days)
    waiting = frozenset(days).difference(looked_at)
    cuts = sorted({min(cut, beside.until - JUST_BEFORE) for cut in _cuts(lake, looked_at)})
    if not cuts:
        return CheckResult("leakage_truncation", table, [], TRUNCATION_REMEDY, waiting=waiting)
    since, last = datetime.combine(min(days), time(), UTC), max(cuts)
    steps = lake.scan(table, version=beside.version)
    stored = steps.filter(pl.col("known_date").is_between(since.date().replace(day=1), last.date()))
    everything = inputs_of(lake, contracts, bound, beside.inputs)
    inputs, inside = touching(everything, _touched(everything, stored, since, last))
    findings: list[Finding] = []
    for cut in cuts:
        found = Differences()
        found.add(*differences(inputs, stored, cut, since=since, inside=inside("entity_id")))
        findings += found.findings(cut)
    return CheckResult("leakage_truncation", table, one_per_day(findings), TRUNCATION_REMEDY, waiting=waiting)


def whole_past(
    lake: Lake,
    contracts: Mapping[str, Contract],
    bound: BoundView,
    days: Sequence[date],
    *,
    at_once: int = ROWS_AT_ONCE,
) -> CheckResult:
    """Whether all of the stored past stays as it is when it is cut at each start of a month.

    Args:
        lake: Where history and timeline stand.
        contracts: The contracts, by object.
        bound: The view.
        days: The days looked at: a cut at midnight of each first of a month among them, but for the first day.
        at_once: How many versions and steps are held at once, about: more are judged entity by entity, in portions.

    Returns:
        A finding per cut under its day, or under each day whose steps knew better.
    """
    table = f"features/{bound.name}"
    reached = watermark(lake)
    months = [datetime.combine(day, time(), UTC) for day in sorted(days)[1:] if day.day == 1]
    covered = [cut for cut in months if reached is not None and cut < reached]
    if not covered or not lake.exists(table):
        return CheckResult("leakage_whole_past", table, [], TRUNCATION_REMEDY)
    beside = settled(lake, contracts, bound)
    cuts = [cut for cut in covered if cut < beside.until]
    cut_short = len(cuts) < len(covered)
    waiting = frozenset(day for day in days if cut_short and (not cuts or day > cuts[-1].date()))
    if not cuts:
        return CheckResult("leakage_whole_past", table, [], TRUNCATION_REMEDY, waiting=waiting)
    tables = [table, f"history/{bound.entity}", *([f"history/{bound.activity}"] if bound.activity else [])]
    count = max(1, -(-sum(lake.rows(read) for read in tables if lake.exists(read)) // at_once))
    found = {cut: Differences() for cut in cuts}
    for inputs, inside in portions(inputs_of(lake, contracts, bound, beside.inputs), count):
        for cut, differing_at in found.items():
            stored = lake.scan(table, version=beside.version).filter(pl.col("known_date") <= cut.date())
            differing_at.add(*differences(inputs, stored, cut, inside=inside("entity_id")))
    findings = [finding for cut, differing_at in found.items() for finding in differing_at.findings(cut)]
    told: dict[str, object] = {"portions": count}
    return CheckResult(
        "leakage_whole_past", table, one_per_day(findings), TRUNCATION_REMEDY, facts=told, waiting=waiting
    )


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
    beside = settled(lake, contracts, bound)
    looked_at = beside.judged(days)
    waiting = frozenset(days).difference(looked_at)
    stored = lake.scan(table, version=beside.version).filter(pl.col("known_at") < pl.lit(beside.until, UTC_US))
    mine = stored.filter(pl.col("known_date").is_in(looked_at))
    red = [one.day for one in red_partitions(lake) if (one.asset, one.check) == (table, "leakage_recomputed")]
    asked = _questions(mine, red)
    if asked.is_empty():
        return CheckResult("leakage_recomputed", table, [], REMEDY, waiting=waiting)
    opinion = opinion_of(inputs_of(lake, contracts, bound, beside.inputs), asked)
    wrong = differing(opinion, stored, judged(bound.view))
    findings = _by_day(asked, wrong)
    with_steps = mine.select(pl.col("known_date").unique()).collect().get_column("known_date")
    unjudged = frozenset(set(with_steps) - {finding.day for finding in findings})
    return CheckResult("leakage_recomputed", table, findings, REMEDY, unjudged=unjudged, waiting=waiting)


def opinion_of(inputs: Inputs, asked: pl.DataFrame) -> pl.DataFrame:
    """What DuckDB makes of a history at some moments, one row per entity_id and as_of asked about."""
    return second_opinion(
        inputs.view,
        asked,
        activities=None if inputs.activities is None else inputs.activities.collect(),
        merges=pl.DataFrame(schema=MERGES).select(MERGE) if inputs.merges is None else inputs.merges.collect(),
        versions=None if inputs.versions is None else inputs.versions.collect(),
    )


def inputs_of(
    lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, versions: Mapping[str, int | None]
) -> Inputs:
    """The history that a view reads, each table at one version, or empty: just the columns it needs."""

    def at(table: str, schema: pl.Schema) -> pl.LazyFrame:
        version = versions[table]
        return pl.LazyFrame(schema=schema) if version is None else lake.scan(table, schema=schema, version=version)

    def history(name: str) -> pl.LazyFrame:
        read = [column for sources in bound.lineage.values() for of, column in sources if of == name]
        keys = [bound.view.key, bound.view.time] if name == bound.activity else []
        columns = list(dict.fromkeys([*VERSION, *(key for key in keys if key), *read]))
        return at(f"history/{name}", contracts[name].history_schema).select(columns)

    merges = at("history/merges", MERGES).filter(pl.col("object") == bound.entity)
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


def cut_of(lake: Lake, days: Sequence[date]) -> datetime | None:
    """The middle of what is covered of the middle day: noon of a day that is over; None where nothing is covered."""
    reached = watermark(lake)
    if not days or reached is None:
        return None
    begins = datetime.combine(sorted(days)[len(days) // 2], time(), UTC)
    covered = min(reached, begins + timedelta(days=1)) - begins
    return begins + covered / 2 if covered > timedelta(0) else None


def _cuts(lake: Lake, days: Sequence[date]) -> list[datetime]:
    """The middle of the middle day, and the last moment of what is covered of the last one; none where nothing is."""
    middle, reached = cut_of(lake, days), watermark(lake)
    if middle is None or reached is None:
        return []
    over = datetime.combine(max(days), time(), UTC) + timedelta(days=1) - JUST_BEFORE
    return sorted({middle, min(reached, over)})


def _touched(inputs: Inputs, stored: pl.LazyFrame, since: datetime, cut: datetime) -> pl.Series:
    """The entities that have a step in a stretch, or became known otherwise in it."""
    within = pl.max_horizontal("event_time", "processed_time").is_between(since, cut)
    found = [stored.filter(pl.col("known_at").is_between(since, cut)).select(id="entity_id")]
    if inputs.versions is not None:
        found.append(inputs.versions.filter(within).select(id="entity_id"))
    if inputs.activities is not None and inputs.view.key is not None:
        found.append(inputs.activities.filter(within).select(id=inputs.view.key))
    if inputs.merges is not None:
        found += [inputs.merges.filter(within).select(id=side) for side in ("loser_id", "winner_id")]
    return pl.concat(found).unique().collect().to_series()


def _questions(steps: pl.LazyFrame, red: Sequence[date]) -> pl.DataFrame:
    """A sample of steps, the same every time: each asked about at its instant and just before it.

    Of each red day as many as of all together: what made it red is asked again, so that a pass may release it.
    """
    by_chance = pl.struct("entity_id", "known_at").hash(seed=17)
    ordered = steps.select("entity_id", "known_at", "known_date").sort(by_chance)
    of_red = ordered.filter(pl.col("known_date").is_in(list(red))).group_by("known_date", maintain_order=True)
    columns = ["entity_id", "known_at"]
    parts = [ordered.head(SAMPLED_STEPS).select(columns), of_red.head(SAMPLED_STEPS).select(columns)]
    chosen = pl.concat(parts).unique().collect()
    instants = [pl.col("known_at").alias("as_of"), (pl.col("known_at") - JUST_BEFORE).cast(UTC_US).alias("as_of")]
    return pl.concat([chosen.select("entity_id", instant) for instant in instants]).unique().sort("as_of", "entity_id")


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
