"""Quarantined rows let out again once their contract takes them, with the times they came with; or given up for good.

Here is the order of commits and what is marked. Whether a row keeps its contract is decided in `rows`; rebuilding the
history of the days touched is the caller's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from crm_platform.contracts import RAW_CHANGE, Contract
from crm_platform.lake import Lake, audit, fingerprint
from crm_platform.lake.query import json_fields
from crm_platform.landing.quarantine import QUARANTINED, RAW, Arrival
from crm_platform.landing.rows import RECONSTRUCTED, landed_rows
from crm_platform.landing.typed import typed
from crm_platform.sources import Manifest

_TOLD = [name for name in RAW_CHANGE if name != "payload"]


@dataclass(frozen=True)
class ReleaseReport:
    """What a release did: rows that landed, rows that still break their contract, and the days that got rows."""

    released: int
    refused: int
    days: tuple[date, ...]


def release_quarantined(
    lake: Lake,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    object_name: str,
    *,
    released_by: str,
    days: Iterable[date] | None = None,
    ingested_at: Callable[[], datetime] | None = None,
) -> ReleaseReport:
    """Lands the quarantined rows that keep the contract as it is now; the others stay where they are.

    A released row keeps its processed_time, so it belongs to the day on which it came: history is to be built again from
    the earliest of the report's days. Rows that were refused later than at landing are not touched.

    Args:
        lake: Where they lie.
        manifest: What the CRM is.
        contracts: By object.
        object_name: The object.
        released_by: Who decided so; stands in `resolved_by` and in the audit log.
        days: Only rows of these days; None for all.
        ingested_at: The moment by the real clock; None for the system's.
    """
    table, moment = f"quarantine/{object_name}", (ingested_at or _real)()
    waiting = (
        lake.scan(table, days=None if days is None else sorted(set(days)), schema=QUARANTINED)
        .filter(pl.col("resolved_by").is_null(), pl.col(RAW).is_not_null())
        .sort("processed_time", "source_position", "entity_id", RAW)
        .collect()
    )
    if waiting.is_empty():
        return ReleaseReport(0, 0, ())
    batch_id = _batch_id(waiting)
    landed: list[pl.DataFrame] = []
    taken: list[pl.DataFrame] = []
    for (channel,), rows in waiting.partition_by("_channel", as_dict=True, maintain_order=True).items():
        knowledge = RECONSTRUCTED if manifest.knowledge == RECONSTRUCTED else "source"
        arrival = Arrival(batch_id, str(channel), moment, moment, knowledge)
        split = landed_rows(_raw_changes(rows, manifest, object_name), contracts[object_name], arrival)
        landed.append(split.good)
        taken.append(rows.filter(split.taken))
    good, resolved = pl.concat(landed), pl.concat(taken)
    if good.is_empty():
        return ReleaseReport(0, waiting.height, ())
    lake.append(f"landing/changes/{object_name}", good, token=batch_id)
    touched = tuple(sorted(good.get_column("processed_date").unique()))
    marked = resolved.get_column("processed_date").unique().to_list()
    lake.revise(table, lambda held: _marked(held, resolved, released_by), days=marked)
    detail = {"rows": good.height, "batch": batch_id, "first_day": touched[0].isoformat()}
    audit(lake, actor=released_by, action="quarantine.release", subject=table, detail=detail, at=moment)
    return ReleaseReport(good.height, waiting.height - good.height, touched)


def discard_quarantined(
    lake: Lake,
    object_name: str,
    rule: str,
    *,
    discarded_by: str,
    why: str,
    at: Callable[[], datetime] | None = None,
) -> int:
    """Gives up the rows of an object that wait by a rule: nothing lands, and they stay in the table as resolved.

    For rows that no contract will ever take, such as times without a zone: what they said comes with the row's next
    change, or with the next snapshot, which repairs history.

    Args:
        lake: Where they lie.
        object_name: The object.
        rule: The whole rule, as `quarantine/<object>` has it.
        discarded_by: Who decided so; stands in `resolved_by` and in the audit log.
        why: The reason; stands in the audit log.
        at: The moment by the real clock; None for the system's.

    Returns:
        How many rows were given up.
    """
    table = f"quarantine/{object_name}"
    asked = pl.col("resolved_by").is_null() & (pl.col("rule") == rule)
    waiting = lake.scan(table, schema=QUARANTINED).filter(asked).select("processed_date").collect().to_series()
    if waiting.is_empty():
        return 0
    given_up = pl.when(asked).then(pl.lit(f"discarded by {discarded_by}")).otherwise("resolved_by")
    lake.revise(table, lambda held: held.with_columns(given_up.alias("resolved_by")), days=waiting.unique().to_list())
    detail = {"rows": len(waiting), "rule": rule, "why": why}
    audit(lake, actor=discarded_by, action="quarantine.discard", subject=table, detail=detail, at=(at or _real)())
    return len(waiting)


def _batch_id(waiting: pl.DataFrame) -> str:
    """The same rows have the same batch, so that a release cut off in the middle lands them once."""
    _, low, high = fingerprint(waiting.select("_batch_id", "rule", RAW, "payload"))
    return f"release-{low:016x}{high:016x}"


def _raw_changes(rows: pl.DataFrame, manifest: Manifest, object_name: str) -> pl.DataFrame:
    """The rows as their source read them, with the times and the position they were quarantined with."""
    read = json_fields(rows.get_column(RAW), _TOLD)
    told = read.select(typed(pl.col(f"text:{n}"), pl.col(f"kind:{n}"), RAW_CHANGE[n])[0].alias(n) for n in _TOLD)
    edited = manifest.spec(object_name).event_time
    observed = _edit_time(told.get_column("fields"), edited)
    return (
        told.with_columns(rows.get_column("payload"), observed)
        .with_columns(
            rows.get_column("processed_time"),
            pl.when(pl.col("operation") == "snapshot")
            .then(pl.coalesce("observed", "event_time"))
            .otherwise(pl.coalesce("event_time", rows.get_column("event_time")))
            .alias("event_time"),
            pl.coalesce("source_position", rows.get_column("source_position")).alias("source_position"),
        )
        .select(list(RAW_CHANGE))
    )


def _edit_time(fields: pl.Series, column: str | None) -> pl.Series:
    """When a snapshot's row was edited, by its own column; null where it has none."""
    if column is None:
        return pl.Series("observed", [None] * fields.len(), dtype=RAW_CHANGE["event_time"])
    read = json_fields(fields, [column])
    value, _ = typed(pl.col(f"text:{column}"), pl.col(f"kind:{column}"), RAW_CHANGE["event_time"])
    return read.select(value.alias("observed")).to_series()


def _marked(held: pl.DataFrame, resolved: pl.DataFrame, released_by: str) -> pl.DataFrame:
    keys = ["_batch_id", "rule", RAW, "payload"]
    told = resolved.select(keys).unique().with_columns(pl.lit(value=True).alias("is_resolved"))
    open_line = pl.col("resolved_by").is_null() & pl.col("is_resolved").fill_null(value=False)
    return (
        held.join(told, on=keys, how="left", nulls_equal=True)
        .with_columns(pl.when(open_line).then(pl.lit(released_by)).otherwise("resolved_by").alias("resolved_by"))
        .drop("is_resolved")
    )


def _real() -> datetime:
    return datetime.now(UTC)
