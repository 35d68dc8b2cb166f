"""From landed changes to versions: one row per thing that happened, whatever was delivered twice or out of order.

Here are the identity of a version, the rules of its operation, and the tombstones that a list of old ids implies. What
the versions add up to stands in `state`; what a snapshot adds to them in `reconcile`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from crm_platform.contracts import TOMBSTONES, UTC_US, Contract
from crm_platform.contracts.envelope import PROVENANCE_COLUMNS

VERSION_ORDER = ("event_time", "processed_time", "source_position")
IDENTITY = ("entity_id", *VERSION_ORDER)
SORTED_BY = ("processed_date", *IDENTITY)
PROVENANCE = ("_ingested_at", *(name for name in PROVENANCE_COLUMNS if name != "_ingested_at"))

CONFLICT = "conflicting_versions"
WINNERLESS = "merge_without_winner"

Knowledge = Literal["source", "ingest", "reconstructed"]


@dataclass(frozen=True)
class Versions:
    """What a set of landed changes comes to.

    Attributes:
        kept: One row per version, in history's columns.
        rejected: One row per change that no version can be made of: the landed columns without the payload, and `rule`.
    """

    kept: pl.LazyFrame
    rejected: pl.LazyFrame


def versions_from(
    changes: pl.LazyFrame,
    contract: Contract,
    *,
    lists_losers: bool = False,
    knowledge: Knowledge = "source",
    past: pl.LazyFrame | None = None,
) -> Versions:
    """Makes one version of all landed changes that are the same.

    The same are changes equal in entity, event_time, processed_time, source_position and content; the first to land
    gives its provenance. Changes equal in the former and different in content contradict each other: nobody can say
    which is right, so all of them are rejected, whichever came first.

    Args:
        changes: One row per landed change (the contract's change columns; the payload is not read).
        contract: The object's contract.
        lists_losers: Whether the source shows a merge by a third id that lists the old ones; a `merge` that names no
            winner then is that third id's own birth or update.
        knowledge: `ingest` makes one version of arrivals that differ in nothing but their time of arrival.
        past: The versions of earlier days: under `ingest`, what has arrived before is no version again.
    """
    ruled = _by_the_rules(changes.select(list(contract.history_schema)), contract, lists_losers=lists_losers)
    winnerless = (pl.col("operation") == "merge") & pl.col("merged_into").is_null()
    content = ("operation", "is_tombstone", "merged_into", "changed_fields", *contract.columns)
    sound = ruled.filter(~winnerless)
    if knowledge == "ingest":
        sound = _first_arrivals(sound, content, past)
    marked = sound.with_columns(pl.struct(IDENTITY).is_duplicated().alias("_is_repeated"))
    told_apart = (
        marked.filter("_is_repeated")
        .drop("_is_repeated")
        .sort(PROVENANCE, nulls_last=True, maintain_order=True)
        .unique([*IDENTITY, *content], keep="first", maintain_order=True)
        .with_columns(pl.len().over(IDENTITY).alias("_contents"))
    )
    once = marked.filter(~pl.col("_is_repeated")).drop("_is_repeated")
    kept = pl.concat([once, told_apart.filter(pl.col("_contents") == 1).drop("_contents")])
    rejected = pl.concat(
        [
            told_apart.filter(pl.col("_contents") > 1).drop("_contents").with_columns(pl.lit(CONFLICT).alias("rule")),
            ruled.filter(winnerless).with_columns(pl.lit(WINNERLESS).alias("rule")),
        ]
    )
    return Versions(kept.sort(SORTED_BY), rejected.sort(*SORTED_BY, *PROVENANCE, nulls_last=True))


def listed_losers(
    versions: pl.LazyFrame, contract: Contract, column: str, earlier: pl.LazyFrame | None = None, separator: str = ";"
) -> pl.LazyFrame:
    """The `merge` versions of the losers that winners list.

    A listing counts when it is older, by event_time, than every one recorded before it. So a pair has one merge, with
    the times of the least version that lists it; only a listing that arrives late and is dated earlier adds another,
    and none is ever taken back: what was known before stays known.

    Args:
        versions: The object's versions, in history's columns.
        contract: The object's contract.
        column: The field that lists the old ids: a list, or text with a separator.
        earlier: What earlier days have listed: loser_id, winner_id, event_time.
        separator: What stands between two ids where the field is text.

    Returns:
        One row per merge, in history's columns: the loser's tombstone, `merged_into` the winner.
    """
    pair = ("loser_id", "winner_id")
    losers = listed_ids(contract, column, separator)
    lists = ~pl.col("is_tombstone") & pl.col("changed_fields").list.contains(column).fill_null(value=True)
    listings = (
        versions.filter(lists & pl.col(column).is_not_null())
        .select("entity_id", *VERSION_ORDER, "processed_date", *PROVENANCE, losers.alias("loser_id"))
        .rename({"entity_id": "winner_id"})
        .explode("loser_id", empty_as_null=False, keep_nulls=False)
        .filter(pl.col("loser_id") != pl.col("winner_id"), pl.col("loser_id") != "")
        .sort(*pair, "processed_time", "event_time", "source_position", *PROVENANCE, nulls_last=True)
    )
    if earlier is None:
        earlier = pl.LazyFrame(schema={"loser_id": pl.String, "winner_id": pl.String, "event_time": UTC_US})
    floor = earlier.group_by(pair).agg(pl.col("event_time").min().alias("_floor"))
    oldest_before = pl.col("event_time").cum_min().shift(1).over(pair)
    firsts = listings.with_columns(oldest_before.alias("_before")).join(floor, on=pair, how="left")
    bound = pl.min_horizontal("_before", "_floor")
    return as_versions(
        firsts.filter(bound.is_null() | (pl.col("event_time") < bound)).select(
            *VERSION_ORDER,
            "processed_date",
            *PROVENANCE,
            pl.col("loser_id").alias("entity_id"),
            pl.col("winner_id").alias("merged_into"),
            pl.lit("merge").alias("operation"),
        ),
        contract,
    )


def listed_ids(contract: Contract, column: str, separator: str = ";") -> pl.Expr:
    """The ids that a field lists, whether it is a list or text."""
    return pl.col(column) if isinstance(contract.schema[column], pl.List) else pl.col(column).str.split(separator)


def as_versions(rows: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """Brings derived rows into history's columns and order.

    Args:
        rows: entity_id, the version order, operation, provenance, and the fields that the rows write (a full image,
            unless the operation is a tombstone).
        contract: The object's contract.
    """
    present = rows.collect_schema()
    tombstone = pl.col("operation").is_in(TOMBSTONES)
    absent = [
        pl.lit(None, dtype).alias(name)
        for name, dtype in contract.history_schema.items()
        if name not in present and name not in ("is_tombstone", "changed_fields", "processed_date")
    ]
    return (
        rows.with_columns(
            tombstone.alias("is_tombstone"),
            pl.when(tombstone).then(NO_FIELDS).alias("changed_fields"),
            pl.col("processed_time").dt.date().alias("processed_date"),
            *absent,
        )
        .select(list(contract.history_schema))
        .sort(SORTED_BY)
    )


NO_FIELDS = pl.lit([], pl.List(pl.String))


def _by_the_rules(changes: pl.LazyFrame, contract: Contract, *, lists_losers: bool) -> pl.LazyFrame:
    """Changes in one way of writing: a tombstone writes no field, only a merge names a winner, fields stand in order."""
    nameless = (pl.col("operation") == "merge") & pl.col("merged_into").is_null()
    born = pl.when(pl.col("changed_fields").is_null()).then(pl.lit("create")).otherwise(pl.lit("update"))
    operation = pl.when(nameless).then(born).otherwise(pl.col("operation")) if lists_losers else pl.col("operation")
    merged_into = pl.when(pl.col("operation") == "merge").then(pl.col("merged_into"))
    tombstone = pl.col("is_tombstone")
    return (
        changes.with_columns(operation.alias("operation"))
        .with_columns(pl.col("operation").is_in(TOMBSTONES).alias("is_tombstone"), merged_into.alias("merged_into"))
        .with_columns(
            pl.when(tombstone)
            .then(NO_FIELDS)
            .otherwise(pl.col("changed_fields").list.unique().list.sort())
            .alias("changed_fields"),
            *(pl.when(~tombstone).then(pl.col(name)).alias(name) for name in contract.columns),
        )
    )


def _first_arrivals(changes: pl.LazyFrame, content: Sequence[str], past: pl.LazyFrame | None) -> pl.LazyFrame:
    """Of arrivals that differ in nothing but when they came, the first; a missing edit time took the arrival's."""
    edited = pl.when(pl.col("event_time") != pl.col("processed_time")).then(pl.col("event_time")).alias("_edited")
    same = ["entity_id", "source_position", "_edited", *content]
    first = (
        changes.with_columns(edited)
        .sort("processed_time", *PROVENANCE, nulls_last=True, maintain_order=True)
        .unique(same, keep="first", maintain_order=True)
    )
    if past is not None:
        first = first.join(past.with_columns(edited).select(same), on=same, how="anti", nulls_equal=True)
    return first.drop("_edited")
