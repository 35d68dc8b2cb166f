"""Bulk exports taken, compared with their contract, and landed once per object and day.

Decides when a snapshot is taken, kept or refused. Typing its rows stands in `exports`, comparing a schema in `quality`,
which hands its comparison in.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Protocol

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.lake import Lake
from crm_platform.landing.errors import DriftError, SnapshotRefusedError
from crm_platform.landing.exports import Part, parts_of, snapshot_rows
from crm_platform.landing.quarantine import Arrival, refusal_token
from crm_platform.landing.watermark import start_of
from crm_platform.sources import ExportFile, Manifest, Source, now

KEPT = "kept"
"""The folder under the lake's root where files lie that could not land."""
DESCRIPTION = "export.json"
SKIPPED = "skipped"

Progress = Callable[[str], None]
Status = Literal["landed", "present", "beyond", "skipped"]


class Difference(Protocol):
    """One way in which an export differs from its contract; as text it names the column, never a value of it."""

    @property
    def column(self) -> str:
        """The column that differs: the contract's, or the delivered one where the contract has none."""
        ...

    @property
    def read_from(self) -> str | None:
        """The delivered column that is read as this one; None where nothing is renamed."""
        ...

    @property
    def waits_by(self) -> str | None:
        """The rule by which rows that show it wait in quarantine; None where they land, or where their values decide."""
        ...

    @property
    def is_compatible(self) -> bool:
        """Whether rows may land in spite of it."""
        ...


Drift = Callable[[pl.DataFrame], Sequence[Difference]]
"""Compares delivered rows, typed as their file is, with the contract."""

Record = Callable[[date, Sequence[pl.DataFrame], Mapping[str, str], datetime], None]
"""Remembers the columns that an export of a day had: the rows of its files, which columns came under which other name,
and the moment by the real clock."""


@dataclass(frozen=True)
class SnapshotReport:
    """What became of one object's snapshot of one day.

    `status` is `landed`, `present` (it was there before), `beyond` (the source's clock has not reached the day) or
    `skipped` (somebody decided that the day goes without one).
    `day` is the day under which it lies, that of its end.
    """

    object: str
    day: date
    status: Status
    rows: int = 0
    refused: int = 0
    version: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    differences: Sequence[Difference] = ()
    unknown: dict[str, int] = field(default_factory=dict)

    @property
    def landed(self) -> bool:
        """Whether the day has its snapshot now."""
        return self.status in ("landed", "present")

    @property
    def facts(self) -> dict[str, Any]:
        """What is worth showing of it, by name."""
        told = {
            "status": self.status,
            "rows": self.rows,
            "quarantined": self.refused,
            "delta_version": self.version,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "drift": "; ".join(str(difference) for difference in self.differences) or None,
        }
        return {name: fact for name, fact in told.items() if fact is not None}


def land_snapshot(
    lake: Lake,
    source: Source,
    manifest: Manifest,
    contract: Contract,
    day: date,
    *,
    drift: Drift,
    record: Record | None = None,
    clock: Callable[[], datetime] | None = None,
    ingested_at: Callable[[], datetime] | None = None,
    progress: Progress | None = None,
) -> SnapshotReport:
    """Lands the export of one object for one day, once; a landed day is never touched again.

    A day that a dated export can show is exported as of its end. The day on which the source's clock stands is exported
    live, and lands under the day on which the export ends. A file kept from an earlier try is landed, with its own
    times, if it fits the contract now.

    Args:
        lake: Where it lands.
        source: The CRM.
        manifest: What the CRM is.
        contract: The object's contract.
        day: The UTC day.
        drift: How an export differs from the contract.
        record: Told what every export looks like that is landed or kept.
        clock: The moment by the source's clock; None for the source's own.
        ingested_at: The moment by the real clock; None for the system's.
        progress: Told what lands.

    Raises:
        SnapshotRefusedError: The day is past, was never taken, and cannot be exported any more.
        DriftError: The export does not fit the contract; nothing landed, its file is kept.
        ExportUnreadableError: The export's file is broken; nothing landed.
    """
    table, name = f"landing/snapshot/{contract.object}", contract.object
    if day in lake.days(table):
        return _present(lake, table, name, day)
    if (_folder(lake, name, day) / SKIPPED).is_file():
        return SnapshotReport(name, day, "skipped")
    taking = _Taking(lake, source, manifest, contract, drift, record, ingested_at or _real, progress or _silent)
    moment = now(manifest, source) if clock is None else clock()
    kept = kept_export(lake, name, day)
    if kept is not None:
        differences = _told(_differences(parts_of(kept, manifest), drift))
        if all(difference.is_compatible for difference in differences) or not manifest.has_dated_exports:
            return taking.land(kept, day, moment)
    if moment < start_of(day):
        return SnapshotReport(name, day, "beyond")
    over = moment >= start_of(day + timedelta(days=1)) - timedelta(microseconds=1)
    if over and not manifest.has_dated_exports:
        raise SnapshotRefusedError.past(name, day, moment)
    with TemporaryDirectory(prefix="crm-platform-") as folder:
        export = source.export(name, day=day if over else None, into=Path(folder))
        found = export.finished_at.astimezone(UTC).date()
        if over and found != day:
            raise SnapshotRefusedError.other_day(name, day, export.finished_at)
        if found in lake.days(table):
            return _present(lake, table, name, found)
        return taking.land(export, found, moment)


@dataclass(frozen=True)
class _Taking:
    lake: Lake
    source: Source
    manifest: Manifest
    contract: Contract
    drift: Drift
    record: Record | None
    ingested_at: Callable[[], datetime]
    progress: Progress

    def land(self, export: ExportFile, day: date, moment: datetime) -> SnapshotReport:
        """Lands an export if it fits, and keeps its file if not."""
        name = self.contract.object
        parts = parts_of(export, self.manifest)
        found = _differences(parts, self.drift)
        differences = _told(found)
        ingested_at = self.ingested_at()
        decided = [_decided(part, mine) for part, mine in zip(parts, found, strict=True)]
        if self.record is not None:
            renamed = {other.column: other.read_from for other in differences if other.read_from is not None}
            self.record(day, [part.delivered for part in decided], renamed, ingested_at)
        stopping = [difference for difference in differences if not difference.is_compatible]
        if stopping:
            kept = _keep(self.lake, export, day)
            raise DriftError.incompatible(name, day, "; ".join(map(str, stopping)), kept, differences)
        batch_id = f"snapshot-{name}-{day.isoformat()}"
        arrival = Arrival(batch_id, "snapshot", moment, ingested_at)
        split = snapshot_rows(decided, self.contract, export, arrival)
        self.lake.append(f"quarantine/{name}", split.refused, token=refusal_token(split.refused, arrival))
        table = f"landing/snapshot/{name}"
        commit = self.lake.append(table, split.good, token=batch_id, fills=True)
        _forget(self.lake, name, day)
        if commit is None and not split.good.is_empty():  # another run was faster
            return _present(self.lake, table, name, day)
        self.progress(
            f"landed a snapshot of {name} for {day}: {split.good.height} rows, {split.refused.height} quarantined"
        )
        return SnapshotReport(
            name,
            day,
            "landed",
            rows=split.good.height,
            refused=split.refused.height,
            version=None if commit is None else commit.version,
            started_at=export.started_at,
            finished_at=export.finished_at,
            differences=differences,
            unknown=split.unknown,
        )


def kept_days(lake: Lake, object_name: str) -> list[date]:
    """The days of which an export is kept that could not land."""
    folder = lake.folder(f"{KEPT}/{object_name}")
    return sorted(date.fromisoformat(file.parent.name) for file in folder.glob(f"*/{DESCRIPTION}"))


def skip_snapshot(lake: Lake, object_name: str, day: date) -> None:
    """Decides that a day goes without a snapshot of an object; a kept export of it is given up."""
    folder = lake.folder(f"{KEPT}/{object_name}/{day.isoformat()}")
    (folder / SKIPPED).touch()
    _forget(lake, object_name, day)


def _differences(parts: Sequence[Part], drift: Drift) -> list[Sequence[Difference]]:
    """Those of every file of the export: a schema may change between two of them."""
    return [drift(part.delivered) if part.delivered.width else [] for part in parts]


def _told(found: Sequence[Sequence[Difference]]) -> list[Difference]:
    """The differences of all files, each once."""
    return list({str(difference): difference for mine in found for difference in mine}.values())


def _decided(part: Part, differences: Sequence[Difference]) -> Part:
    """The file as the policies want it read: renamed columns under their old names, and what rows wait for."""
    names = {other.read_from: other.column for other in differences if other.read_from is not None}
    waits = {other.column: other.waits_by for other in differences if other.waits_by is not None}
    return replace(part.renamed(names), waits_for=waits)


def _present(lake: Lake, table: str, name: str, day: date) -> SnapshotReport:
    told = lake.scan(table, days=[day]).select(pl.len(), pl.col("started_at", "finished_at").first()).collect()
    rows, started_at, finished_at = told.row(0)
    version = lake.version(table)
    return SnapshotReport(
        name, day, "present", rows=rows, version=version, started_at=started_at, finished_at=finished_at
    )


def _keep(lake: Lake, export: ExportFile, day: date) -> Path:
    """Puts the files aside with what is known of them; the description comes last and makes it count."""
    folder = lake.folder(f"{KEPT}/{export.object}/{day.isoformat()}")
    if all(path.parent == folder for path in export.paths):
        return folder
    _forget(lake, export.object, day)
    for path in export.paths:
        shutil.copyfile(path, folder / path.name)
    told = {
        "files": [path.name for path in export.paths],
        "format": export.format,
        "started_at": export.started_at.isoformat(),
        "finished_at": export.finished_at.isoformat(),
        "complete": export.complete,
        "rows": export.rows,
    }
    written = folder / f"{DESCRIPTION}.part"
    written.write_text(json.dumps(told, indent=1), encoding="utf-8")
    written.rename(folder / DESCRIPTION)
    return folder


def kept_export(lake: Lake, object_name: str, day: date) -> ExportFile | None:
    """The export that was kept of a day because it could not land; None if there is none."""
    folder = _folder(lake, object_name, day)
    described = folder / DESCRIPTION
    if not described.is_file():
        return None
    told = json.loads(described.read_text(encoding="utf-8"))
    return ExportFile(
        paths=[folder / name for name in told["files"]],
        format=told["format"],
        object=object_name,
        started_at=datetime.fromisoformat(told["started_at"]),
        finished_at=datetime.fromisoformat(told["finished_at"]),
        complete=told["complete"],
        rows=told["rows"],
    )


def _forget(lake: Lake, object_name: str, day: date) -> None:
    """Removes a kept export, its description first: without it the files do not count."""
    folder = _folder(lake, object_name, day)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    for file in folder.glob("*"):
        if file.name != SKIPPED:
            file.unlink()


def _folder(lake: Lake, object_name: str, day: date) -> Path:
    return lake.folder(KEPT) / object_name / day.isoformat()


def _real() -> datetime:
    return datetime.now(UTC)


def _silent(_: str) -> None:
    return None
