"""The columns that every object shares, hop by hop: what a change, a version, a snapshot row and a quarantined row carry.

Here stand names, types and meanings, once. The objects' own columns stand in their contracts; how a row is made stands
in `landing` and `history`.
"""

from dataclasses import dataclass

import polars as pl

UTC_US = pl.Datetime("us", "UTC")
MONEY = pl.Decimal(18, 2)

OPERATIONS = ("snapshot", "create", "update", "delete", "undelete", "merge", "inferred_delete", "repair")
CHANNELS = ("snapshot", "feed", "webhook", "kafka", "log")
TOMBSTONES = ("delete", "merge", "inferred_delete")
"""Operations that end an entity's life; the rest write fields."""


@dataclass(frozen=True)
class Common:
    """One column that all objects of a hop share."""

    dtype: pl.DataType
    meaning: str
    nullable: bool = False
    allowed: tuple[str, ...] = ()


ENTITY_ID = Common(pl.String(), "The object's key in its CRM, as text.")
EVENT_TIME = Common(UTC_US, "When it became true in the CRM.")
PROCESSED_TIME = Common(UTC_US, "When the CRM provably recorded it, or the moment of our ingestion.")
SOURCE_POSITION = Common(pl.String(), "Where it stands in its source; sorts bytewise.")
OPERATION = Common(pl.String(), "What happened to the entity.", allowed=OPERATIONS)
MERGED_INTO = Common(pl.String(), "The winner, on the version of a merge's loser.", nullable=True)
CHANGED_FIELDS = Common(pl.List(pl.String), "The fields this version writes; null for a full image.", nullable=True)
CHANGED_BY = Common(pl.String(), "Who changed it in the CRM.", nullable=True)
CHANGE_ORIGIN = Common(pl.String(), "What changed it: a screen, an import, an integration.", nullable=True)
CHANNEL = Common(pl.String(), "How it reached the platform.", allowed=CHANNELS)
BATCH_ID = Common(pl.String(), "The batch that landed it.")
INGESTED_AT = Common(UTC_US, "When the platform landed it, by the real clock.")
PROCESSED_DATE = Common(pl.Date(), "The UTC day of processed_time.")

VERSION_COLUMNS = {
    "entity_id": ENTITY_ID,
    "event_time": EVENT_TIME,
    "processed_time": PROCESSED_TIME,
    "source_position": SOURCE_POSITION,
    "operation": OPERATION,
    "is_tombstone": Common(pl.Boolean(), "Whether this version ends the entity's life."),
    "merged_into": MERGED_INTO,
    "changed_fields": CHANGED_FIELDS,
    "processed_date": PROCESSED_DATE,
}
PROVENANCE_COLUMNS = {
    "_changed_by": CHANGED_BY,
    "_change_origin": CHANGE_ORIGIN,
    "_channel": CHANNEL,
    "_batch_id": BATCH_ID,
    "_ingested_at": INGESTED_AT,
}
PAYLOAD_COLUMNS = {"_payload": Common(pl.String(), "The change as delivered, as JSON text.")}
SNAPSHOT_COLUMNS = {
    "_extra": Common(pl.String(), "Delivered columns that the contract does not know, as JSON text.", nullable=True),
    "started_at": Common(UTC_US, "When the export began to read."),
    "finished_at": Common(UTC_US, "When the export had read everything."),
    "snapshot_date": Common(pl.Date(), "The UTC day of finished_at."),
    "_complete": Common(pl.Boolean(), "Whether the export claims to hold every living row."),
    "_batch_id": BATCH_ID,
    "_ingested_at": INGESTED_AT,
}
CURRENT_COLUMNS: dict[str, Common] = {}

RESERVED = frozenset(VERSION_COLUMNS) | frozenset(PROVENANCE_COLUMNS) | frozenset(SNAPSHOT_COLUMNS) | {"_payload"}
"""Names that no object's own column may have."""


def schema_of(columns: dict[str, Common]) -> pl.Schema:
    """The Polars schema of a set of common columns, in their order."""
    return pl.Schema({name: column.dtype for name, column in columns.items()})


RAW_CHANGE = pl.Schema(
    {
        "object": pl.String(),
        "entity_id": pl.String(),
        "operation": pl.String(),
        "event_time": UTC_US,
        "processed_time": UTC_US,
        "source_position": pl.String(),
        "changed_fields": pl.List(pl.String),
        "merged_into": pl.String(),
        "fields": pl.String(),
        "changed_by": pl.String(),
        "change_origin": pl.String(),
        "payload": pl.String(),
        "error": pl.String(),
    }
)
"""What a source hands to landing: one row per entity per event, no vendor's names left but those of its fields."""

QUARANTINE = pl.Schema(
    {
        "entity_id": pl.String(),
        "rule": pl.String(),
        "column": pl.String(),
        "payload": pl.String(),
        "source_position": pl.String(),
        "event_time": UTC_US,
        "processed_time": UTC_US,
        "operation": pl.String(),
        "processed_date": pl.Date(),
        "_channel": pl.String(),
        "_batch_id": pl.String(),
        "_ingested_at": UTC_US,
        "resolved_by": pl.String(),
    }
)
"""One row that broke its contract: the rule, the row as delivered, and who resolved it."""

MERGES = pl.Schema(
    {
        "object": pl.String(),
        "loser_id": pl.String(),
        "winner_id": pl.String(),
        "event_time": UTC_US,
        "processed_time": UTC_US,
        "processed_date": pl.Date(),
    }
)
"""One merge, or with a null winner one unmerge."""

RANGES = pl.Schema(
    {
        "batch_id": pl.String(),
        "from_offset": pl.String(),
        "to_offset": pl.String(),
        "watermark": UTC_US,
        "status": pl.String(),
        "events": pl.Int64(),
        "recorded_at": UTC_US,
    }
)
"""One line per step of a feed batch: open when its bounds are fixed, done when every object has landed."""

RED = pl.Schema(
    {
        "asset": pl.String(),
        "day": pl.Date(),
        "check": pl.String(),
        "since": UTC_US,
        "detail": pl.String(),
        "resolved_at": UTC_US,
    }
)
"""One red partition: which check, since when, and when it was mended."""

SCHEMAS = pl.Schema(
    {
        "object": pl.String(),
        "from_day": pl.Date(),
        "fingerprint": pl.String(),
        "column": pl.String(),
        "type": pl.String(),
        "nullable": pl.Boolean(),
        "read_from": pl.String(),
        "is_text": pl.Boolean(),
        "recorded_at": UTC_US,
    }
)
"""One column of the schema that an object's exports have from a day on, up to the next day that has lines; `read_from` where it came renamed,
`is_text` whether its values came as text that reads as its type (null where no file with types had any)."""
