"""What becomes of a row that broke its contract: kept with its rule and its payload, one row for one row.

Pure shapes. Finding the rules stands in `rows` and `exports`, letting rows out again in `release`.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from crm_platform.contracts import QUARANTINE, UTC_US
from crm_platform.lake import fingerprint

RAW = "_raw"
"""The row as its source read it, as JSON text: from this a release lands it, whatever its payload looks like."""

QUARANTINED = pl.Schema(dict(QUARANTINE) | {RAW: pl.String()})
"""The columns of quarantine/<object>."""


@dataclass(frozen=True)
class Arrival:
    """How and when rows reached the platform.

    `now` is the moment by the source's clock, `ingested_at` the one by the real clock.
    """

    batch_id: str
    channel: str
    now: datetime
    ingested_at: datetime
    knowledge: str = "source"

    @property
    def provenance(self) -> list[pl.Expr]:
        """The columns that say it on every row."""
        return [
            pl.lit(self.channel).alias("_channel"),
            pl.lit(self.batch_id).alias("_batch_id"),
            pl.lit(self.ingested_at, dtype=UTC_US).alias("_ingested_at"),
        ]

    @property
    def day(self) -> pl.Expr:
        """The day of arrival, for rows that know no better."""
        return pl.lit(self.now.date(), dtype=pl.Date())


def quarantined(rows: pl.DataFrame, arrival: Arrival) -> pl.DataFrame:
    """Rows that broke their contract, with the columns of their table.

    Args:
        rows: One row per row refused: `faults` (a list of `rule: column`), and what is known of entity_id, payload,
            source_position, event_time, processed_time, operation and _raw.
        arrival: How they came.
    """
    first = pl.col("faults").list.first()
    return rows.with_columns(
        pl.col("faults").list.join("; ").alias("rule"),
        first.str.extract(r"^[^:]+: (.+)$").alias("column"),
        pl.col("processed_time").dt.date().fill_null(arrival.day).alias("processed_date"),
        pl.lit(None, dtype=pl.String()).alias("resolved_by"),
        *arrival.provenance,
    ).select(pl.col(name).cast(dtype) for name, dtype in QUARANTINED.items())


def refusal_token(refused: pl.DataFrame, arrival: Arrival) -> str:
    """The token under which a batch's refused rows are committed.

    The same rows have the same one, so that a repeated batch commits them once; after a change of contract others come
    to lie beside them, and none is lost.
    """
    rows, low, high = fingerprint(refused.drop("_ingested_at", "processed_time", "event_time", "processed_date", RAW))
    return f"{arrival.batch_id}:{rows}:{low:x}:{high:x}"
