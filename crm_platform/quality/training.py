"""Whether a stored training set holds what it says: labels after their question, features from before it.

Reads a stored set and the timelines it was joined with, and joins them once more in DuckDB. How a set is made stands in
`features`; what else its gate asks, in `training_gate`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import polars as pl

from crm_platform.contracts import UTC_US
from crm_platform.features.labels import LABELS
from crm_platform.features.recipes import Recipe
from crm_platform.features.spines import since_then
from crm_platform.features.training import TrainingSet, timelines_of
from crm_platform.lake import Lake
from crm_platform.lake.query import query
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.rules import holds, row_rule, training_rules

CHECK = "leakage"
KEYS_AND_LABELS = ("entity_id", "as_of", *LABELS)
PLANTED_ROWS = 200
"""Of how many rows the planted leak must be caught."""
REMEDY = (
    "Do not train on this set. Materialize it again; if it stays, look at the columns named here: "
    "the timeline behind them was changed, or the join reads what was not known yet."
)


def table_of(found: TrainingSet) -> str:
    """What a stored set is called in the results of checks."""
    return f"training/{found.manifest.recipe.name}/{found.manifest.id}"


def training_holds(lake: Lake, found: TrainingSet) -> CheckResult:
    """Whether a set keeps the rules of labels, and its features are those known at each as_of.

    A leak is planted as well: the features of each entity's next question, which the comparison must tell.

    Args:
        lake: Where its timelines stand.
        found: The set.
    """
    recipe, table = found.manifest.recipe, table_of(found)
    watermark = pl.lit(found.manifest.watermark, UTC_US)
    rules = training_rules(watermark=watermark, steps=_moments(found.frame.columns), embargo=recipe.embargo)
    rules.checks = [*(rules.checks or []), *_of_recipe(recipe)]
    labels = holds(
        rules, found.frame, check=CHECK, table=table, remedy=REMEDY, shown=("entity_id", "as_of", "label_known_at")
    )
    timelines = {
        prefix: steps.collect()
        for prefix, steps in timelines_of(lake, found.manifest, until=recipe.last - recipe.embargo).items()
    }
    wrong = features_not_known(found.frame, timelines, recipe.embargo)
    findings = [*labels.findings, _finding(found, wrong), _canary(found.frame, timelines, recipe.embargo)]
    return CheckResult(CHECK, table, findings, REMEDY, facts={"rows": found.frame.height})


def features_not_known(rows: pl.DataFrame, timelines: Mapping[str, pl.DataFrame], embargo: timedelta) -> pl.DataFrame:
    """Which features are not those of the step in force at as_of, less the embargo; looked up by DuckDB.

    A column that no timeline gives was known at no moment: every row with a value in it is one too many.

    Args:
        rows: entity_id, as_of, and the features as `{prefix}__{column}`.
        timelines: The timelines they were joined with, by prefix.
        embargo: How much older than as_of the features are.

    Returns:
        entity_id, as_of, column: one row per value that differs.
    """
    given: set[str] = set(KEYS_AND_LABELS)
    wrong = [pl.DataFrame(schema={"entity_id": pl.String, "as_of": UTC_US, "column": pl.String})]
    for prefix, steps in timelines.items():
        columns = [name for name in steps.columns if f"{prefix}__{name}" in rows.columns]
        questions = rows.select("entity_id", "as_of").with_columns(
            (pl.col("as_of") - embargo).cast(UTC_US).alias("looked_up")
        )
        held = ", ".join(f't."{name}" AS "{name}"' for name in columns)
        in_force = query(
            f"""SELECT q.entity_id, q.as_of, {held} FROM questions q
                ASOF LEFT JOIN steps t ON q.entity_id = t.entity_id AND q.looked_up >= t.known_at""",  # noqa: S608  column names of our own tables
            questions=questions,
            steps=steps.select("entity_id", "known_at", *columns),
        )
        in_force = in_force.cast(pl.Schema({name: steps.schema[name] for name in columns} | {"as_of": UTC_US}))
        answers = since_then(in_force.select(columns), in_force.get_column("as_of"))
        answers = answers.select(name for name in answers.columns if f"{prefix}__{name}" in rows.columns)
        beside = rows.join(in_force.select("entity_id", "as_of").hstack(answers), on=["entity_id", "as_of"], how="left")
        for name in answers.columns:
            ours = pl.col(f"{prefix}__{name}")
            differs = ours.ne_missing(pl.col(name).cast(rows.schema[f"{prefix}__{name}"]))
            wrong.append(_named(beside.filter(differs), f"{prefix}__{name}"))
        given |= {f"{prefix}__{name}" for name in answers.columns}
    wrong += [_named(rows.drop_nulls(name), name) for name in rows.columns if name not in given]
    return pl.concat(wrong).sort("as_of", "entity_id", "column")


def _moments(columns: Sequence[str]) -> list[str]:
    """Features that say when something was known: none of them may be later than the question."""
    held = set(columns)
    return [name for name in columns if name.endswith("__last_at") or (name.removesuffix("_since") in held - {name})]


def _named(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    return rows.select("entity_id", "as_of", pl.lit(column).alias("column"))


def _of_recipe(recipe: Recipe) -> list[object]:
    """The rules that the recipe's own boundaries give."""
    asked, happened, read = pl.col("as_of"), pl.col("label_event_time"), pl.col("label_known_at")
    return [
        row_rule("label_happened_within_the_horizon", happened <= asked + recipe.horizon),
        row_rule("label_was_read_after_horizon_and_grace", read >= asked + recipe.horizon + recipe.grace),
        row_rule("label_was_read_no_later_than_horizon_and_grace", read <= asked + recipe.horizon + recipe.grace),
    ]


def _canary(rows: pl.DataFrame, timelines: Mapping[str, pl.DataFrame], embargo: timedelta) -> Finding:
    """Whether the comparison tells features that an entity has only at its next question."""
    features = [name for name in rows.columns if name not in KEYS_AND_LABELS]
    ahead = rows.with_columns(pl.col(name).shift(-1).over("entity_id", order_by="as_of") for name in features)
    last = pl.col("as_of") == pl.col("as_of").max().over("entity_id")
    planted = ahead.filter(~last).head(PLANTED_ROWS)
    honest = rows.join(planted.select("entity_id", "as_of"), on=["entity_id", "as_of"], how="semi")
    if planted.select(features).equals(honest.select(features)):
        return Finding(
            passed=True, what="No entity's features change between its questions: there is no leak to plant."
        )
    caught = not features_not_known(planted, timelines, embargo).is_empty()
    what = "The planted leak was caught." if caught else "A planted leak was not caught: features of the next question."
    shown = None if caught else planted.select("entity_id", "as_of").head(MOST_EXAMPLES)
    return Finding(caught, what, failing=0 if caught else planted.height, total=planted.height, examples=shown)


def _finding(found: TrainingSet, wrong: pl.DataFrame) -> Finding:
    total = found.frame.height
    if wrong.is_empty():
        return Finding(passed=True, what=f"All features of {total} rows were known at their as_of.", total=total)
    columns = wrong.get_column("column").unique().sort().to_list()
    return Finding(
        passed=False,
        what=f"Features are not those known at their as_of: {', '.join(columns[:5])}.",
        failing=wrong.select("entity_id", "as_of").n_unique(),
        total=total,
        examples=wrong.head(MOST_EXAMPLES),
    )
