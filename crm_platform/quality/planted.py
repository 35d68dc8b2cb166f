"""A leak planted on purpose into a sample of a view's own history: both leakage checks must tell it, at every build.

What is planted, and what telling means, stands in `truncation` and `second_opinion`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.features.catalogue import BoundView
from crm_platform.features.inputs import Inputs as History
from crm_platform.lake import Lake
from crm_platform.quality.leakage import REMEDY, cut_of, differing, inputs_of, opinion_of
from crm_platform.quality.portions import touching
from crm_platform.quality.result import CheckResult, Finding
from crm_platform.quality.second_opinion import judged
from crm_platform.quality.truncation import AN_HOUR, Build, Inputs, canary, leakily, plant

SAMPLED_ENTITIES = 200
"""Of how many entities the planted leak is caught."""


def planted_leak(lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, days: Sequence[date]) -> CheckResult:
    """Whether both leakage checks catch a leak that is planted into a sample of the view's own history.

    Args:
        lake: Where history stands.
        contracts: The contracts, by object.
        bound: The view.
        days: The days looked at: the leak is planted where the truncation check cuts.
    """
    table = f"features/{bound.name}"
    cut = cut_of(lake, days)
    if cut is None:
        return CheckResult("leakage_planted", table, [], REMEDY)
    sample = _sampled(inputs_of(lake, contracts, bound, History.pinned(lake, contracts, bound).versions))
    found = canary(sample, cut, table=table)
    planted = plant(sample, cut)
    if planted is None:
        return found
    caught = recomputation_tells(planted, cut)
    what = (
        "DuckDB tells the planted leak too." if caught else "A planted leak was not caught by the recomputation in SQL."
    )
    shown = None if caught else pl.DataFrame({"cut": [cut]})
    second = Finding(caught, what, day=cut.date(), failing=int(not caught), total=1, examples=shown)
    return replace(found, findings=_together(cut, [*found.findings, second]))


def recomputation_tells(planted: Inputs, cut: datetime, *, leaky: Build = leakily) -> bool:
    """Whether DuckDB disagrees with a timeline that believes the planted row when it is dated.

    Args:
        planted: A history with a leak in it.
        cut: The moment around which it was planted.
        leaky: The builder that must be told.
    """
    believed = leaky(planted, cut + 2 * AN_HOUR).collect()
    asked = believed.filter(pl.col("known_at") == cut - AN_HOUR).select("entity_id", pl.col("known_at").alias("as_of"))
    if asked.is_empty():
        return False
    inputs, _ = touching(planted, asked.get_column("entity_id").unique())
    opinion = opinion_of(inputs, asked)
    return not differing(opinion, believed.lazy(), judged(planted.view)).is_empty()


def _together(cut: datetime, findings: Sequence[Finding]) -> list[Finding]:
    """Of several findings about one day, those that failed, or the first."""
    failed = [finding for finding in findings if not finding.passed]
    if len(failed) > 1:
        told = " ".join(finding.what for finding in failed)
        return [Finding(passed=False, what=told, day=cut.date(), failing=1, total=1, examples=failed[0].examples)]
    return failed or list(findings[:1])


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
