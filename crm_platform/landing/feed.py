"""The change feed, landed batch by batch: bounds first, then each object once, then done.

Here stands the order of commits that lets a kill at any moment be repeated. Splitting rows stands in `rows`, what has
landed in `watermark`, reading a feed in `sources`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol

import polars as pl

from crm_platform.contracts import RANGES, RAW_CHANGE, UTC_US, Contract
from crm_platform.lake import Lake
from crm_platform.landing.errors import BatchTakenError, FeedBoundsError
from crm_platform.landing.quarantine import RAW, Arrival, quarantined, refusal_token
from crm_platform.landing.rows import landed_rows
from crm_platform.landing.watermark import NUMBER_WIDTH, TABLE, Batch, batches
from crm_platform.sources import FeedBatch, Manifest, Source, now

Progress = Callable[[str], None]

TRIES = 30
"""How often a run goes on after others that were faster; each time one of them has landed something."""


class Feed(Protocol):
    """What landing asks of a source: its changes in order."""

    def changes(self, after: str | None, until: datetime | None = None, upto: str | None = None) -> Iterator[FeedBatch]:
        """The changes after an offset, before a moment or up to an offset."""
        ...


@dataclass
class LandingReport:
    """What a landing of the feed did.

    `rows` and `refused` count per object, `days` are those that got rows, `unknown` counts delivered fields without a
    place in the contract, as `object.field`.
    """

    watermark: datetime | None = None
    offset: str | None = None
    batches: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    days: dict[str, set[date]] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def first_day(self) -> date | None:
        """The earliest day that got rows: from there on history is to be built again."""
        return min((day for days in self.days.values() for day in days), default=None)


def land_changes(
    lake: Lake,
    source: Source,
    manifest: Manifest,
    contracts: Mapping[str, Contract],
    *,
    until: datetime | None = None,
    resume_after: str | None = None,
    clock: Callable[[], datetime] | None = None,
    ingested_at: Callable[[], datetime] | None = None,
    progress: Progress | None = None,
) -> LandingReport:
    """Lands what the feed holds after the last batch that is done; a batch left open is repeated first.

    Nothing is written where neither the offset nor the watermark has moved. Where another run lands at the same time, its
    batches count as they stand, and this run goes on after them.

    Args:
        lake: Where it lands.
        source: The feed.
        manifest: What the CRM is: knowledge, settling lag, channel.
        contracts: By object.
        until: Only what was committed before this moment; None for all there is.
        resume_after: Goes on after this offset in spite of a gap, which `landing/ranges` then shows.
        clock: The moment by the source's clock; None for the source's own.
        ingested_at: The moment by the real clock; None for the system's.
        progress: Told of every batch.

    Raises:
        GapError: The feed no longer holds what comes next.
        BatchTakenError: Other runs kept landing the same stretch.
        FeedBoundsError: The source hands over another stretch than asked for.
    """
    moment = now(manifest, source) if clock is None else clock()
    landing = _Landing(lake, manifest, contracts, moment, ingested_at or _real, progress or _silent)
    for _ in range(0 if resume_after else TRIES - 1):  # over a gap somebody leads by hand
        try:
            return landing.follow(source, until, resume_after)
        except BatchTakenError as taken:
            landing.progress(str(taken))
    return landing.follow(source, until, resume_after)


@dataclass
class _Landing:
    lake: Lake
    manifest: Manifest
    contracts: Mapping[str, Contract]
    moment: datetime
    ingested_at: Callable[[], datetime]
    progress: Progress
    report: LandingReport = field(default_factory=LandingReport)

    def follow(self, source: Feed, until: datetime | None, resume_after: str | None) -> LandingReport:
        """Lands what lies after the batches that are there by now."""
        known = batches(self.lake)
        for batch in known:
            if not batch.is_done:
                self.repeat(batch, source)
        done = known[-1] if known else None
        after = resume_after or (done.to_offset if done else None)
        self.report.offset, self.report.watermark = after, max((b.watermark for b in known), default=None)
        number = len(known)
        for piece in source.changes(after=after, until=until):
            if piece.from_offset != after:
                raise FeedBoundsError.torn(after, piece.from_offset)
            number += self.land(piece, number + 1)
            after = piece.to_offset
        return self.report

    def land(self, piece: FeedBatch, number: int) -> int:
        """Lands a new batch; 0 where it says nothing new."""
        held = self.report.watermark
        settled = piece.watermark - self.manifest.settling_lag
        reached = settled if held is None else max(held, settled)
        if piece.to_offset == (self.report.offset or piece.from_offset) and reached == held:
            return 0
        batch_id = f"{self.manifest.channel}-{number:0{NUMBER_WIDTH}d}"
        batch = Batch(batch_id, piece.from_offset, piece.to_offset, reached, piece.events.height, is_done=False)
        self._open(batch, "open" if batch.events else "done")
        self._land(batch, piece.events)
        return 1

    def repeat(self, batch: Batch, source: Feed) -> None:
        """Lands a batch that was left open, with exactly its bounds."""
        after, events = batch.from_offset, [pl.DataFrame(schema=RAW_CHANGE)]
        if batch.to_offset != batch.from_offset:
            for piece in source.changes(after=after, upto=batch.to_offset):
                if piece.from_offset != after:
                    raise FeedBoundsError.torn(after, piece.from_offset)
                events.append(piece.events)
                after = piece.to_offset
        if after != batch.to_offset:
            raise FeedBoundsError.short(batch.batch_id, batch.to_offset, after)
        self._land(batch, pl.concat(events))

    def _open(self, batch: Batch, status: str) -> None:
        """Fixes the batch's bounds; one without events is done with that."""
        written = self.lake.append(TABLE, self._line(batch, status), token=f"{batch.batch_id}:open")
        if written is None and not any(batch.same_stretch(held) for held in batches(self.lake)):
            raise BatchTakenError.other_bounds(batch.batch_id)

    def _land(self, batch: Batch, events: pl.DataFrame) -> None:
        arrival = Arrival(
            batch.batch_id, self.manifest.channel, self.moment, self.ingested_at(), self.manifest.knowledge
        )
        for (name,), rows in events.partition_by("object", as_dict=True, maintain_order=True).items():
            self._land_object(str(name), rows, arrival)
        if batch.events:
            self.lake.append(TABLE, self._line(batch, "done"), token=f"{batch.batch_id}:done")
        self.report.batches += 1
        self.report.offset, self.report.watermark = batch.to_offset, batch.watermark
        self.progress(
            f"landed {events.height} changes up to offset {batch.to_offset}, watermark {batch.watermark:%Y-%m-%d %H:%M:%S}"
        )

    def _land_object(self, name: str, rows: pl.DataFrame, arrival: Arrival) -> None:
        """Quarantine first: whatever is cut off in between, a row is in one of the two tables in the end."""
        contract = self.contracts.get(name)
        if contract is None:
            refused, good, unknown = _homeless(rows, arrival), None, {}
        else:
            landed = landed_rows(rows, contract, arrival)
            refused, good, unknown = landed.refused, landed.good, landed.unknown
        self.lake.append(f"quarantine/{name}", refused, token=refusal_token(refused, arrival))
        self.report.refused[name] = self.report.refused.get(name, 0) + refused.height
        if good is not None:
            commit = self.lake.append(f"landing/changes/{name}", good, token=arrival.batch_id)
            self.report.rows[name] = self.report.rows.get(name, 0) + (commit.rows if commit else 0)
            self.report.days.setdefault(name, set()).update(good.get_column("processed_date").unique().to_list())
        for column, count in unknown.items():
            key = f"{name}.{column}"
            self.report.unknown[key] = self.report.unknown.get(key, 0) + count

    def _line(self, batch: Batch, status: str) -> pl.DataFrame:
        line = {
            "batch_id": batch.batch_id,
            "from_offset": batch.from_offset,
            "to_offset": batch.to_offset,
            "watermark": batch.watermark,
            "status": status,
            "events": batch.events,
            "recorded_at": self.ingested_at(),
        }
        return pl.DataFrame([line], schema=RANGES)


def _homeless(rows: pl.DataFrame, arrival: Arrival) -> pl.DataFrame:
    """Changes of an object without a contract: kept, all of them."""
    told = rows.with_columns(
        pl.lit(["unknown_object: object"]).alias("faults"),
        pl.coalesce("processed_time", pl.lit(arrival.now, dtype=UTC_US)).alias("processed_time"),
        pl.struct(pl.exclude("payload")).struct.json_encode().alias(RAW),
    )
    return quarantined(told, arrival)


def _real() -> datetime:
    return datetime.now(UTC)


def _silent(_: str) -> None:
    return None
