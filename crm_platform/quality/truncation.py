"""Whether the past of a timeline knows of its future: by forgetting the future, and by a leak planted on purpose.

Pure, for any builder of timelines. Some entities of a history, with all that ties them together, stand in `portions`; the
independent recomputation in SQL in `second_opinion`; reading the lake for all of them in `leakage`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features import FeatureView, build_timeline
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding

CANARY = "canary:leak"
"""The id of the activity that is planted: no CRM's."""

AN_HOUR = timedelta(hours=1)

REMEDY = (
    "Do not train on this table. Rebuild it from the day on (`crm-platform rebuild --from DAY`); if it stays, the view reads "
    "something that was not known yet: look at the columns named here."
)
CANARY_REMEDY = "The leakage check is blind: trust no timeline until it catches the planted leak again."
NOT_VALUES = ("entity_id", "known_at", "known_date")


@dataclass(frozen=True)
class Inputs:
    """What a timeline is built from.

    Attributes:
        view: The view.
        activities: Versions of the activities, None for a view of attributes alone.
        merges: The merge facts of the view's entity.
        versions: Versions of the entity.
    """

    view: FeatureView
    activities: pl.LazyFrame | None
    merges: pl.LazyFrame | None
    versions: pl.LazyFrame | None

    def known_by(self, moment: datetime) -> "Inputs":
        """The inputs without what became known after a moment."""
        return replace(
            self,
            activities=None if self.activities is None else self.activities.filter(known_by(moment)),
            merges=None if self.merges is None else self.merges.filter(known_by(moment)),
            versions=None if self.versions is None else self.versions.filter(known_by(moment)),
        )


Build = Callable[[Inputs, datetime], pl.LazyFrame]
"""Builds the steps before a moment."""


def honestly(inputs: Inputs, until: datetime) -> pl.LazyFrame:
    """The steps before a moment, as the kernel builds them."""
    return build_timeline(inputs.view, inputs.activities, inputs.merges, versions=inputs.versions, until=until)


def leakily(inputs: Inputs, until: datetime) -> pl.LazyFrame:
    """The steps as a builder makes them that believes everything was known when it happened."""
    at_once = pl.col("event_time").alias("processed_time")
    return honestly(
        replace(
            inputs,
            activities=None if inputs.activities is None else inputs.activities.with_columns(at_once),
            versions=None if inputs.versions is None else inputs.versions.with_columns(at_once),
        ),
        until,
    )


def known_by(moment: datetime) -> pl.Expr:
    """Whether a row was known at a moment."""
    at = pl.lit(moment, UTC_US)
    return (pl.col("event_time") <= at) & (pl.col("processed_time") <= at)


def truncation(
    inputs: Inputs, steps: pl.LazyFrame, cuts: Sequence[datetime], *, table: str, build: Build = honestly
) -> CheckResult:
    """Drops what was known after a moment, builds again, and compares the past.

    Args:
        inputs: What the timeline was built from.
        steps: The timeline, keyframes included or not.
        cuts: The moments.
        table: Where the timeline stands.
        build: What built it.

    Returns:
        A finding per cut under its day, or under each day whose steps say something else than the rebuilt past.
    """
    findings: list[Finding] = []
    for cut in sorted(cuts):
        found = Differences()
        found.add(*differences(inputs, steps, cut, build=build))
        findings += found.findings(cut)
    return CheckResult("leakage_truncation", table, one_per_day(findings), REMEDY)


def one_per_day(findings: Sequence[Finding]) -> list[Finding]:
    """Of what several cuts found about a day the last failure, or else the last word: in the order of days."""
    ordered = sorted(findings, key=lambda finding: not finding.passed)
    return sorted({finding.day: finding for finding in ordered}.values(), key=lambda finding: finding.day or date.min)


@dataclass
class Differences:
    """What was found wrong before one cut, portion by portion: counts and examples, so that it stays small."""

    total: int = 0
    failing: dict[date, int] = field(default_factory=dict)
    columns: set[str] = field(default_factory=set)
    examples: dict[date, pl.DataFrame] = field(default_factory=dict)

    def add(self, wrong: pl.DataFrame, total: int) -> None:
        """Adds what `differences` found in a portion."""
        self.total += total
        self.columns |= set(wrong.get_column("column").unique())
        for (day,), mine in wrong.group_by(pl.col("known_at").dt.date(), maintain_order=True):
            self.failing[day] = self.failing.get(day, 0) + mine.select("entity_id", "known_at").n_unique()
            shown = [self.examples[day], mine] if day in self.examples else [mine]
            self.examples[day] = pl.concat(shown).head(MOST_EXAMPLES)

    def findings(self, cut: datetime) -> list[Finding]:
        """One under the day of the cut where nothing differs, else one under each day with steps that do."""
        if not self.failing:
            what = f"Steps up to {cut:%Y-%m-%d %H:%M:%S} are what was known then."
            return [Finding(passed=True, what=what, day=cut.date(), total=self.total)]
        columns = sorted(self.columns)
        what = (
            f"Steps up to {cut:%Y-%m-%d %H:%M:%S} differ from what was known then, in {', '.join(columns[:5])}"
            f"{' and more' if len(columns) > 5 else ''}."  # noqa: PLR2004  five names fill a line
        )
        return [
            Finding(passed=False, what=what, day=day, failing=failing, total=self.total, examples=self.examples[day])
            for day, failing in sorted(self.failing.items())
        ]


def differences(
    inputs: Inputs,
    steps: pl.LazyFrame,
    cut: datetime,
    *,
    build: Build = honestly,
    since: datetime | None = None,
    inside: pl.Expr | None = None,
) -> tuple[pl.DataFrame, int]:
    """Where the steps up to a cut say something else than the past built again, and how many steps were looked at.

    Args:
        inputs: What the timeline was built from.
        steps: The timeline, keyframes included or not; where `since` is given, at least from a keyframe before it on.
        cut: What became known after this moment is dropped.
        build: What built it.
        since: Only steps from this moment on are judged; None for all.
        inside: Whether a step's entity_id is one whose history is in the inputs whole; None where all are.

    Returns:
        entity_id, known_at, column: one row per value that differs; and the number of stored steps.
    """
    mine = pl.lit(value=True) if inside is None else inside
    past = build(inputs.known_by(cut), cut + timedelta(microseconds=1)).filter(mine).collect()
    stored = steps.filter(pl.col("known_at") <= cut, mine).collect()
    wrong = disagreements(stored, past)
    if since is None:
        return wrong, stored.height
    judged = pl.col("known_at") >= since
    return wrong.filter(judged), stored.select(judged.sum()).item()


def disagreements(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """Where two timelines say different things at a step of either; a step that repeats a state changes nothing.

    Returns:
        entity_id, known_at, column: one row per value that differs, sorted.
    """
    values = [name for name in left.columns if name not in NOT_VALUES]
    steps = pl.concat([left.select("entity_id", "known_at"), right.select("entity_id", "known_at")]).unique()
    at_steps = steps.drop_nulls("entity_id").sort("known_at")
    beside = _in_force(_in_force(at_steps, left, values, "left"), right, values, "right")
    differs = [
        pl.when(pl.col(f"{name}:left").ne_missing(pl.col(f"{name}:right"))).then(pl.lit(name)).alias(name)
        for name in values
    ]
    return (
        beside.select("entity_id", "known_at", *differs)
        .unpivot(values, index=["entity_id", "known_at"], variable_name="_", value_name="column")
        .drop_nulls("column")
        .select("entity_id", "known_at", "column")
        .sort("known_at", "entity_id", "column")
    )


def canary(inputs: Inputs, cut: datetime, *, table: str, leaky: Build = leakily) -> CheckResult:
    """Plants a change that is recorded after the cut and dated before it, and sees whether the check tells.

    The check must catch a builder that believes everything was known when it happened, and must not accuse the true one.

    Args:
        inputs: What a timeline is built from.
        cut: The moment of the cut.
        table: The timeline that the check watches over.
        leaky: The builder that must be caught.
    """
    planted = plant(inputs, cut)
    if planted is None:
        finding = Finding(passed=True, what="Nothing was known yet: there is nowhere to plant a leak.", day=cut.date())
        return CheckResult("leakage_planted", table, [finding], CANARY_REMEDY)
    later = cut + timedelta(hours=2)
    caught = truncation(planted, leaky(planted, later), [cut], table=table, build=leaky)
    accused = truncation(planted, honestly(planted, later), [cut], table=table)
    passed = not caught.passed and accused.passed
    what = "The planted leak was caught."
    if caught.passed:
        what = "A planted leak was not caught: an activity recorded an hour after the cut, in a past before it."
    elif not accused.passed:
        what = "The true timeline was accused of the planted leak."
    shown = None if passed else planted_at(inputs, cut)
    finding = Finding(passed=passed, what=what, day=cut.date(), failing=int(not passed), total=1, examples=shown)
    return CheckResult("leakage_planted", table, [finding], CANARY_REMEDY, facts={"steps_it_changed": caught.failing})


def planted_at(inputs: Inputs, cut: datetime) -> pl.DataFrame:
    """What was planted, for people: the row, the moment it is dated, the one it is recorded at."""
    row = f"a tombstone of a {inputs.view.entity}" if inputs.activities is None else CANARY
    times = {"dated": [cut - AN_HOUR], "cut": [cut], "recorded": [cut + AN_HOUR]}
    return pl.DataFrame({"planted": [row], **times})


def plant(inputs: Inputs, cut: datetime) -> Inputs | None:
    """The inputs with one row more, dated an hour before the cut and recorded an hour after: None where none fits.

    It is an activity like the last one of the past; for a view without activities, a tombstone of an entity.
    """
    rows = inputs.versions if inputs.activities is None else inputs.activities
    if rows is None:
        return None
    writes = ~pl.col("is_tombstone")
    if inputs.activities is not None and inputs.view.key is not None:
        writes &= pl.col(inputs.view.key).is_not_null()
    known = rows.filter(known_by(cut), writes).sort("processed_time", "event_time", "entity_id").last().collect()
    if known.is_empty():
        return None
    dated, recorded = pl.lit(cut - AN_HOUR, UTC_US), pl.lit(cut + AN_HOUR, UTC_US)
    times = [dated.alias("event_time"), recorded.alias("processed_time")]
    if inputs.activities is None:
        row = known.with_columns(*times, pl.lit(value=True).alias("is_tombstone"), _none(known).alias("changed_fields"))
        return replace(inputs, versions=pl.concat([rows, row.lazy()]))
    occurred = [] if inputs.view.time is None else [dated.alias(inputs.view.time)]
    whole = pl.lit(None, known.schema["changed_fields"]).alias("changed_fields")
    row = known.with_columns(*times, *occurred, whole, pl.lit(CANARY).alias("entity_id"))
    return replace(inputs, activities=pl.concat([rows, row.lazy()]))


def _none(rows: pl.DataFrame) -> pl.Expr:
    return pl.lit([], dtype=rows.schema["changed_fields"])


def _in_force(steps: pl.DataFrame, timeline: pl.DataFrame, values: Sequence[str], side: str) -> pl.DataFrame:
    named = timeline.drop_nulls("entity_id").select(
        "entity_id", "known_at", *(pl.col(name).alias(f"{name}:{side}") for name in values)
    )
    return steps.join_asof(
        named.sort("known_at"), on="known_at", by="entity_id", strategy="backward", check_sortedness=False
    )
