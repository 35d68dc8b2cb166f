"""Whether merge facts and timelines, as they are stored, keep the rules that a single frame can be held to.

The rules stand in `rules`; whether a value is the right one is judged in `leakage`.
"""

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from crm_platform.contracts import MERGES, Contract
from crm_platform.features.catalogue import BoundView
from crm_platform.features.shapes import STEP, timeline_schema
from crm_platform.lake import Lake
from crm_platform.quality.result import CheckResult
from crm_platform.quality.rules import holds, merge_rules, timeline_rules

CHECK = "contract"
REMEDY = "Rebuild the day: `crm-platform rebuild --from DAY`. If it stays, the code that derives it is wrong."


def merges_keep_rules(lake: Lake, objects: Sequence[str], days: Sequence[date]) -> CheckResult:
    """Whether every merge fact keeps the rules of its table.

    Args:
        lake: Where to look.
        objects: The objects whose entities may be merged.
        days: The days looked at.
    """
    return holds(
        merge_rules(objects),
        lake.scan("history/merges", days=days, schema=MERGES).collect(),
        check=CHECK,
        table="history/merges",
        remedy=REMEDY,
        days=days,
        day_column="processed_date",
        shown=("object", "loser_id", "winner_id"),
    )


def steps_keep_rules(
    lake: Lake, contracts: Mapping[str, Contract], bound: BoundView, days: Sequence[date]
) -> CheckResult:
    """Whether every step of a stored timeline keeps the rules of timelines.

    Args:
        lake: Where to look.
        contracts: The contracts, by object.
        bound: The view.
        days: The days looked at.
    """
    table = f"features/{bound.name}"
    schema = timeline_schema(bound, contracts)
    features = pl.Schema({name: dtype for name, dtype in schema.items() if name not in STEP})
    return holds(
        timeline_rules(features),
        lake.scan(table, days=days, schema=schema).collect(),
        check=CHECK,
        table=table,
        remedy=REMEDY,
        days=days,
        day_column="known_date",
        shown=("entity_id", "known_at"),
    )
