"""What exports that have landed still show of their differences: in their rows, in their schema, in quarantine.

Reads the lake; what a difference is stands in `differences`, what the check says of it in `drift`.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from crm_platform.contracts import QUARANTINE, Contract
from crm_platform.lake import Lake
from crm_platform.lake.query import json_fields
from crm_platform.quality.differences import Drift, Kind, difference, new_category
from crm_platform.quality.schemas import Firsts

WHOLE: tuple[Kind, ...] = ("added", "removed", "renamed", "emptied")
"""Differences of a whole column for which rows may wait; the rule of such a row is the difference's name."""


def shown_by_rows(lake: Lake, contract: Contract, days: Sequence[date]) -> dict[date, list[Drift]]:
    """By day, what the rows of a landed export have that the contract does not: columns, admitted nulls and values.

    Of the columns a thousand rows of each day tell. What the contract lets evolve is not looked for.
    """
    scanned = lake.scan(f"landing/snapshot/{contract.object}", days=days, schema=contract.snapshot_schema)
    extra = scanned.select("snapshot_date", "_extra").drop_nulls().collect()
    found: dict[date, list[Drift]] = {day: [] for day in days}
    for (day,), rows in extra.partition_by("snapshot_date", as_dict=True).items():
        told = json_fields(rows.get_column("_extra").head(1000), []).get_column("keys").explode().drop_nulls()
        if isinstance(day, date):
            found[day] = [
                difference(contract, name, "added", expected="no such column", found="a column")
                for name in told.unique().sort()
                if name not in contract.columns  # declared since: what came before stays where it landed
            ]
    for name in [
        name for name in contract.columns if contract.policies.nulls == "warn" and not contract.nullable(name)
    ]:
        nulls = scanned.filter(pl.col(name).is_null()).group_by("snapshot_date").len().collect()
        for day, rows in nulls.iter_rows():
            found[day].append(
                difference(contract, name, "nullability", expected="a value in every row", found="nulls", rows=rows)
            )
    for name, allowed in contract.categories.items() if contract.policies.categories == "warn" else ():
        new = scanned.filter(~pl.col(name).is_in(allowed)).select("snapshot_date", name).collect()
        for (day,), rows in new.partition_by("snapshot_date", as_dict=True).items():
            if isinstance(day, date):
                found[day].append(new_category(contract, name, rows.get_column(name)))
    return found


def shown_by_schema(contract: Contract, schema: pl.DataFrame, day: date, firsts: Firsts) -> list[Drift]:
    """What the recorded schema of a day's landed export has less or otherwise than the contract.

    A column that first came later lacks in none of the exports before: the contract has declared it since. One that
    comes as text differs from the day on which it no longer came typed.
    """
    types = dict(schema.select("column", "type").iter_rows())
    texts = set(schema.filter("is_text").get_column("column"))
    found: list[Drift] = []
    for name, dtype in contract.schema.items():
        if name not in types:
            if firsts.came.get(name, day) > day:
                continue
            found.append(difference(contract, name, "removed", expected=str(dtype), found="no such column"))
        elif types[name] != str(dtype):
            found.append(difference(contract, name, "retyped", expected=str(dtype), found=types[name]))
        elif name in texts and firsts.typed.get(name, day) < day:
            found.append(difference(contract, name, "as_text", expected=str(dtype), found="text that reads as it"))
    for name, other in schema.drop_nulls("read_from").select("column", "read_from").iter_rows():
        found.append(difference(contract, name, "renamed", expected=name, found=f"{other}, and read as it"))
    return found


def waiting_rows(lake: Lake, contract: Contract, days: Sequence[date]) -> pl.DataFrame:
    """The rows of exports that wait in quarantine: processed_date, column, payload, and the rule without its column."""
    return (
        lake.scan(f"quarantine/{contract.object}", days=days, schema=QUARANTINE)
        .filter(pl.col("_channel") == "snapshot", pl.col("resolved_by").is_null(), pl.col("column").is_not_null())
        .select("processed_date", "column", "payload", pl.col("rule").str.split(":").list.first())
        .collect()
    )


def waiting_for(contract: Contract, waiting: pl.DataFrame) -> Iterator[tuple[date, Drift]]:
    """What exports showed that the contract does not allow, by the rows that wait for it."""
    for (day, name, rule), rows in waiting.partition_by("processed_date", "column", "rule", as_dict=True).items():
        if not isinstance(day, date):
            continue
        if rule in WHOLE:
            expected = str(contract.schema.get(str(name), "no such column"))
            held = "rows that wait to be released"
            yield day, difference(contract, str(name), rule, expected=expected, found=held, rows=rows.height)
        elif rule == "not_nullable" and name in contract.columns:
            asked = "a value in every row"
            yield day, difference(contract, name, "nullability", expected=asked, found="nulls", rows=rows.height)
        elif str(rule).startswith("isin") and name in contract.columns:
            values = json_fields(rows.get_column("payload"), [name]).get_column(f"text:{name}").drop_nulls()
            yield day, new_category(contract, name, values)
