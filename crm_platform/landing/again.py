"""What a landed table has lost, read from the CRM once more, and the table made to forget the files that are gone.

Rows that come twice make one version: what is read again lands beside what is left. Which files are gone is asked of the
lake, what is said of them stands in `lost`.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from crm_platform.contracts import RAW_CHANGE, Contract
from crm_platform.lake import Lake, LostFile, audit, forget_lost, lost_files
from crm_platform.landing.errors import LandingLostError
from crm_platform.landing.lost import batches_of
from crm_platform.landing.quarantine import Arrival
from crm_platform.landing.rows import landed_rows
from crm_platform.landing.watermark import Batch
from crm_platform.sources import Manifest, Source, now
from crm_platform.sources.errors import GapError

CHANGES, SNAPSHOTS = "landing/changes/", "landing/snapshot/"


@dataclass(frozen=True)
class RestoreReport:
    """What became of a table's loss.

    Attributes:
        lost: The files that its log no longer names.
        rows: How many rows were read from the CRM once more.
    """

    lost: Sequence[LostFile]
    rows: int

    @property
    def days(self) -> list[date]:
        """The days of which something was lost, in order."""
        return sorted({file.part for file in self.lost if isinstance(file.part, date)})


def restore(
    lake: Lake,
    source: Source,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    table: str,
    *,
    by: str,
    give_up: bool = False,
    ingested_at: Callable[[], datetime] | None = None,
) -> RestoreReport:
    """Lands what a table has lost once more, and takes the files that cannot be read out of its log; audited.

    Changes are read by the ranges that brought them, before anything is written. The days of a lost snapshot are only
    forgotten, where exports can be dated: materialized again, they are exported again.

    Args:
        lake: The lake.
        source: The CRM.
        manifest: What the CRM is.
        contracts: By object.
        table: A table of what landed.
        by: Who decides so.
        give_up: Whether to forget what cannot be read again.
        ingested_at: The moment by the real clock; None for the system's.

    Raises:
        LandingLostError: The CRM does not give all of it once more, and it is not to be given up.
    """
    lost = lost_files(lake, table, decode=True)
    if not lost:
        return RestoreReport((), 0)
    rows = 0
    if not give_up and not (table.startswith(SNAPSHOTS) and manifest.has_dated_exports):
        ranges = batches_of(lake, lost, manifest.settling_lag) if table.startswith(CHANGES) else []
        raw = _read_again(source, manifest, table, ranges)
        paths = "|".join(file.path for file in lost)
        batch_id = f"again-{hashlib.sha256(paths.encode()).hexdigest()[:16]}"
        moment = (ingested_at or _real)()
        arrival = Arrival(batch_id, manifest.channel, now(manifest, source), moment, manifest.knowledge)
        good = landed_rows(raw, contracts[table.removeprefix(CHANGES)], arrival).good
        if manifest.knowledge != "ingest":  # there, what is read now was recorded now
            good = good.filter(pl.col("processed_date").is_in([file.part for file in lost]))
        gone = sum(file.rows for file in lost)
        if good.height < gone:
            raise LandingLostError.not_readable_again(table, f"it gives {good.height:,} of {gone:,} rows.")
        commit = lake.append(table, good, token=batch_id)
        rows = 0 if commit is None else commit.rows
    forgotten = forget_lost(lake, table)
    report = RestoreReport(forgotten, rows)
    told = {"files": len(lost), "rows": sum(file.rows for file in lost), "days": [str(day) for day in report.days]}
    audit(lake, actor=by, action="landing.give_up" if give_up else "landing.restore", subject=table, detail=told)
    return report


def _read_again(source: Source, manifest: Manifest, table: str, ranges: Sequence[Batch]) -> pl.DataFrame:
    """The raw changes of a table's object that some ranges of the feed bring once more."""
    if not ranges:
        raise LandingLostError.not_readable_again(table, f"no range or dated export of {manifest.title} brings it.")
    try:
        pieces = [
            piece.events for batch in ranges for piece in source.changes(after=batch.from_offset, upto=batch.to_offset)
        ]
    except GapError as gap:
        raise LandingLostError.not_readable_again(table, str(gap)) from gap
    return pl.concat([pl.DataFrame(schema=RAW_CHANGE), *pieces]).filter(pl.col("object") == table.removeprefix(CHANGES))


def _real() -> datetime:
    return datetime.now(UTC)
