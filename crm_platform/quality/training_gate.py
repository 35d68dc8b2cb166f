"""The gate of training sets: which checks a set must pass before its name finds it, and what each keeps for the gate.

Hands stored sets to the checks that stand in `training`, `label_windows` and `predictors`. What a verdict opens, and which
version of the rules it is by, is decided in `features.gated`.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

import polars as pl

from crm_platform.features.gated import Verdict, awaiting, keep_verdict
from crm_platform.features.shelf import folder_of, stored_in
from crm_platform.features.training import TrainingSet, stored_set, versions_of
from crm_platform.lake import Lake
from crm_platform.quality.label_windows import outcomes_are_history, overlapping
from crm_platform.quality.predictors import PredictorLimits, judgeable, outcomes, scores
from crm_platform.quality.result import MOST_EXAMPLES, CheckResult, Finding
from crm_platform.quality.training import table_of, training_holds

CANARY = "planted:label"
"""The label itself as a feature, to see whether it is told."""

DEFAULT_LIMITS = PredictorLimits.model_validate({})

WINDOWS_REMEDY = (
    "Do not train on this set: its labels are not what history says. Materialize it again; if it stays, look at the rows "
    "named here: the labelling reads too early, too late or beyond its horizon."
)
PREDICTORS_REMEDY = (
    "Do not train on this set: a feature named here gives the label away. Take it out of the view, or, where it may be that "
    "good, accept it with the reason under training_gate in crm_platform.yaml and execute the check again."
)


def label_windows(lake: Lake, found: TrainingSet) -> CheckResult:
    """Whether a set's outcomes are those of history, within horizon and grace; how much windows overlap."""
    recipe, versions = found.manifest.recipe, versions_of(lake, found.manifest)
    honest = outcomes_are_history(found.frame, versions, recipe)
    beyond = (pl.col("as_of") + recipe.horizon + timedelta(microseconds=1)).alias("label_event_time")
    planted = found.frame.head(1).with_columns(beyond, pl.lit(value=True).alias("label"))
    caught = planted.is_empty() or not outcomes_are_history(planted, versions, recipe).passed
    return CheckResult(
        "label_windows",
        table_of(found),
        [honest, _planted("an outcome from just beyond the horizon", planted.height, caught=caught)],
        WINDOWS_REMEDY,
        facts={
            "horizon_seconds": recipe.horizon.total_seconds(),
            "grace_seconds": recipe.grace.total_seconds(),
            "embargo_seconds": recipe.embargo.total_seconds(),
            "embargo_reason": recipe.embargo_reason,
            **overlapping(found.frame, recipe.horizon),
        },
    )


def perfect_predictors(found: TrainingSet, limits: PredictorLimits = DEFAULT_LIMITS) -> CheckResult:
    """Whether no single feature of a set foresees its label almost perfectly; accepted ones are told."""
    table = table_of(found)
    features = [
        column for column in found.frame.columns if column not in (*found.manifest.keys, *found.manifest.labels)
    ]
    rows = found.frame.with_columns(pl.col("label").cast(pl.Int8).alias(CANARY))
    scored = scores(rows, [*features, CANARY], limits)
    honest = scored.filter(pl.col("feature") != CANARY)
    if not judgeable(rows, limits):
        with_it, without = outcomes(rows)
        what = f"Too few to judge by: {with_it} entities have the outcome, {without} lack it; {limits.entities} of each are needed."
        return CheckResult(
            "perfect_predictors", table, [Finding(passed=True, what=what, total=rows.height)], PREDICTORS_REMEDY
        )
    too_good = honest.filter(pl.col("auc") >= limits.auc, ~pl.col("feature").is_in(list(limits.accepted)))
    caught = scored.filter(pl.col("feature") == CANARY, pl.col("auc") >= limits.auc).height > 0
    best = "".join(f"{row['feature']} by {row['by']} {row['auc']:.3f}" for row in honest.head(1).iter_rows(named=True))
    return CheckResult(
        "perfect_predictors",
        table,
        [_of_scores(too_good, honest, best, limits), _planted("the label as a feature", 1, caught=caught)],
        PREDICTORS_REMEDY,
        facts={"best_feature": best, "limit_auc": limits.auc, "accepted": ", ".join(sorted(limits.accepted)) or "none"},
    )


CHECKS: Mapping[str, Callable[[Lake, TrainingSet, PredictorLimits], CheckResult]] = {
    "leakage": lambda lake, found, _: training_holds(lake, found),
    "label_windows": lambda lake, found, _: label_windows(lake, found),
    "perfect_predictors": lambda _, found, limits: perfect_predictors(found, limits),
}
"""What each check of the gate asks of a set. One that comes to judge otherwise gets another version in `features.gated`."""


def judged(
    lake: Lake,
    name: str,
    check: str,
    limits: PredictorLimits = DEFAULT_LIMITS,
    id: str | None = None,  # noqa: A002  a notebook's word
) -> CheckResult:
    """What a check of the gate says of a set; kept beside it, so that the gate opens or stays shut.

    The set that the name stands for is judged as well where it is an older one, last judged by other rules than today's.

    Before the first set is built there is nothing to judge.

    Args:
        lake: Where the set stands.
        name: The set.
        check: One of `CHECKS`.
        limits: From when on a feature is too good to be true.
        id: Which one; None for the one that was built last.

    Raises:
        TrainingError: There is no such set, or what lies there is not what was built under its id.
    """
    if id is None and not stored_in(folder_of(lake, name)):
        return CheckResult(check, f"training/{name}", [Finding(passed=True, what="No set is built yet.")], "")
    older = awaiting(lake, name, check)
    if older is not None:
        _judge(lake, stored_set(lake, name, older), check, limits)
    return _judge(lake, stored_set(lake, name, id), check, limits)


def judged_by_all(
    lake: Lake,
    name: str,
    limits: PredictorLimits = DEFAULT_LIMITS,
    id: str | None = None,  # noqa: A002  a notebook's word
) -> list[CheckResult]:
    """What every check of the gate says of a set; of the one that was built last where no id is given."""
    return [judged(lake, name, check, limits, id) for check in CHECKS]


def _judge(lake: Lake, found: TrainingSet, check: str, limits: PredictorLimits) -> CheckResult:
    result = CHECKS[check](lake, found, limits)
    broken = next((finding.what for finding in result.findings if not finding.passed), "It held.")
    keep_verdict(found, Verdict.on(found, check, passed=result.passed, what=broken))
    return result


def _of_scores(too_good: pl.DataFrame, all_scores: pl.DataFrame, best: str, limits: PredictorLimits) -> Finding:
    total = all_scores.get_column("feature").n_unique()
    if too_good.is_empty():
        return Finding(
            passed=True,
            what=f"None of {total} features alone reaches an AUC of {limits.auc}; best is {best}.",
            total=total,
        )
    named = too_good.unique("feature", keep="first", maintain_order=True)
    told = ", ".join(
        f"{row['feature']} ({row['auc']:.3f} by {row['by']})" for row in named.head(5).iter_rows(named=True)
    )
    return Finding(
        passed=False,
        what=f"Features alone foresee the label with an AUC of {limits.auc} or more: {told}.",
        failing=named.height,
        total=total,
        examples=too_good.head(MOST_EXAMPLES),
    )


def _planted(what: str, total: int, *, caught: bool) -> Finding:
    if caught:
        return Finding(passed=True, what=f"The planted leak was caught: {what}.", total=total)
    shown = pl.DataFrame({"planted": [what]})
    return Finding(
        passed=False, what=f"A planted leak was not caught: {what}.", failing=total, total=total, examples=shown
    )
