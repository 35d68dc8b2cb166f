"""The simulator's change log on its way to disk: batches of numbers in, sorted Parquet segments out.

A batch is a set of rows of one object that undergo one operation and write the same fields. Batches gather until there
are enough rows, then they are put into the order in which the feed shows them, numbered, rendered and written; memory
holds one segment at most. What happens in the CRM is decided in the simulator; how a segment is read, in `changelog`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from crm_platform.sandbox.faults import LateCommits
from crm_platform.sandbox.vocabulary import COLUMNS, OBJECTS, OPERATIONS, ORIGINS, PREFIX, Column

Ints = npt.NDArray[np.int64]
NULL = np.iinfo(np.int64).min
FULL = -1
SECOND = 1_000_000
SEGMENT_ROWS = 200_000
UTC_US = pl.Datetime("us", "UTC")
KEYS = ("visible", "commit", "txn", "order")
META = (*KEYS, "event", "operation", "mask", "merged_into", "hidden", "hard", "by", "origin", "id")


@dataclass(frozen=True)
class Batch:
    """Rows of one object that undergo one operation; `meta` and `fields` hold one number per row and column."""

    object: str
    meta: dict[str, Ints]
    fields: dict[str, Ints]

    def __len__(self) -> int:
        return len(self.meta["id"])

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Batch":
        """The chosen rows."""
        meta = {name: values[chosen] for name, values in self.meta.items()}
        return replace(self, meta=meta, fields={name: values[chosen] for name, values in self.fields.items()})


def filled(value: Ints | int, rows: int) -> Ints:
    """A column of one value, or the column itself."""
    return np.full(rows, value, np.int64) if np.isscalar(value) else np.asarray(value, np.int64)


class Journal:
    """Gathers batches and writes segments into a folder."""

    def __init__(self, folder: Path, *, late: LateCommits | None = None, segment_rows: int = SEGMENT_ROWS) -> None:
        self.folder = folder
        self.late = late
        self.segment_rows = segment_rows
        self.batches: list[Batch] = []
        self.rows = 0
        self.written = 0
        self.offset = 0
        self.txn = 0
        self.segments: list[dict[str, int]] = []
        self.id_lists: list[list[int]] = []

    def transactions(self, count: int) -> Ints:
        """New transaction numbers."""
        self.txn += count
        return np.arange(self.txn - count, self.txn, dtype=np.int64)

    def listed(self, ids: list[int]) -> int:
        """The number that stands for a list of ids in a column."""
        self.id_lists.append(ids)
        return len(self.id_lists) - 1

    def write(
        self,
        of: str,
        operation: str,
        ids: Ints,
        *,
        event: Ints,
        commit: Ints,
        fields: Mapping[str, Ints | int] | None = None,
        txn: Ints | None = None,
        order: Ints | int = 1,
        merged_into: Ints | int = NULL,
        hidden: Ints | int = 0,
        hard: int = 0,
        by: Ints | int = 0,
        origin: str = "screen",
    ) -> None:
        """Notes that entities change.

        Args:
            of: The object.
            operation: create and undelete write a full image, update the fields given, the others none.
            ids: Which entities, as numbers.
            event: Edit times in microseconds.
            commit: Commit times in microseconds, equal within a transaction.
            fields: The columns written, as numbers; NULL is an explicit null.
            txn: Transaction numbers; one each by default.
            order: Places within the transaction.
            merged_into: Winners.
            hidden: 1 where the feed does not show the row.
            hard: 1 if nothing remains of the entity.
            by: Who did it, as owner numbers.
            origin: How it was done.
        """
        rows = len(ids)
        if not rows:
            return
        fields = fields or {}
        if operation in {"create", "undelete"}:
            mask = FULL
        else:
            names = list(COLUMNS[of])
            mask = sum(1 << names.index(name) for name in fields)
        txn = self.transactions(rows) if txn is None else txn
        visible = commit
        if self.late:
            lot = (txn.astype(np.uint64) * np.uint64(2_654_435_761)) % np.uint64(1 << 32)
            visible = commit + (lot < self.late.share * (1 << 32)) * self.late.lag_seconds * SECOND
        told: dict[str, Ints | int] = {
            "visible": visible,
            "commit": commit,
            "txn": txn,
            "order": order,
            "event": event,
            "operation": OPERATIONS.index(operation),
            "mask": mask,
            "merged_into": merged_into,
            "hidden": hidden,
            "hard": hard,
            "by": by,
            "origin": ORIGINS.index(origin),
            "id": ids,
        }
        meta = {name: filled(value, rows) for name, value in told.items()}
        self.batches.append(Batch(of, meta, {name: filled(value, rows) for name, value in fields.items()}))
        self.rows += rows

    def end_of_day(self, until: int, *, last: bool = False) -> None:
        """Writes a segment with everything visible before `until`, once there is enough of it or nothing will follow."""
        if self.rows < self.segment_rows and not last:
            return
        ready: dict[str, list[Batch]] = {name: [] for name in OBJECTS}
        kept: list[Batch] = []
        for batch in self.batches:
            early = batch.meta["visible"] < until
            if early.all():
                ready[batch.object].append(batch)
                continue
            kept.append(batch.where(~early))
            ready[batch.object].append(batch.where(early))
        self.batches, self.rows = kept, sum(map(len, kept))
        self._spill(ready)

    def _spill(self, ready: dict[str, list[Batch]]) -> None:
        metas = {of: _stacked(ready[of], META) for of in OBJECTS}
        keys = [np.concatenate([metas[of][key] for of in OBJECTS]) for key in reversed(KEYS)]
        hidden = np.concatenate([metas[of]["hidden"] for of in OBJECTS])
        in_order = np.lexsort(keys)
        offsets = np.empty(len(in_order), np.int64)
        offsets[in_order] = self.offset + np.cumsum(1 - hidden[in_order])
        place = np.empty(len(in_order), np.int64)
        place[in_order] = self.written + np.arange(len(in_order))
        start = 0
        for of in OBJECTS:
            meta = metas[of]
            rows = slice(start, start + len(meta["id"]))
            start = rows.stop
            fields = {name: _column(ready[of], name) for name in COLUMNS[of] if name != "id"}
            frame = self._frame(of, meta, fields, offsets[rows], place[rows])
            target = self.folder / of
            target.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(target / f"{len(self.segments):05d}.parquet", compression="zstd")
        self.written += len(in_order)
        first = self.offset + 1
        self.offset = int(offsets.max(initial=self.offset))
        visible = keys[KEYS.index("order")] if not len(in_order) else keys[len(KEYS) - 1]
        self.segments.append(
            {
                "first": first,
                "last": self.offset,
                "since": int(visible.min(initial=np.iinfo(np.int64).max)),
                "until": int(visible.max(initial=0)),
                "rows": len(in_order),
            }
        )

    def _frame(
        self, of: str, meta: dict[str, Ints], fields: dict[str, Ints], offset: Ints, place: Ints
    ) -> pl.DataFrame:
        told = {
            "_place": pl.Series(place),
            "_offset": pl.Series(offset),
            "_visible": _rendered(Column("time"), meta["visible"]),
            "_commit": _rendered(Column("time"), meta["commit"]),
            "_event": _rendered(Column("time"), meta["event"]),
            "_txn": pl.Series(meta["txn"]),
            "_order": pl.Series(meta["order"]),
            "_operation": _rendered(Column("category", words=OPERATIONS), meta["operation"]),
            "_mask": pl.Series(meta["mask"]),
            "_merged_into": _rendered(Column("id", of=of), meta["merged_into"]),
            "_hidden": pl.Series(meta["hidden"] == 1),
            "_hard": pl.Series(meta["hard"] == 1),
            "_by": _rendered(Column("id", of="owner"), meta["by"]),
            "_origin": _rendered(Column("category", words=ORIGINS), meta["origin"]),
            "id": _rendered(Column("id", of=of), meta["id"]),
        }
        for name, column in COLUMNS[of].items():
            if column.kind == "ids":
                told[name] = self._id_lists(of, fields[name])
            elif name != "id":
                told[name] = _rendered(column, fields[name])
        return pl.DataFrame(told).sort("_place")

    def _id_lists(self, of: str, codes: Ints) -> pl.Series:
        lists = [None if code == NULL else [f"{PREFIX[of]}-{n:07d}" for n in self.id_lists[code]] for code in codes]
        return pl.Series(lists, dtype=pl.List(pl.String))

    def finish(self, told: dict[str, int]) -> None:
        """Writes what a reader needs to find its way, last of all."""
        told = {"offset": self.offset, "rows": self.written, **told}
        index = {"segments": self.segments, **told}
        (self.folder / "index.json").write_text(json.dumps(index, indent=1))


def _stacked(batches: list[Batch], names: tuple[str, ...]) -> dict[str, Ints]:
    nothing = [np.empty(0, np.int64)]
    return {name: np.concatenate([batch.meta[name] for batch in batches] or nothing) for name in names}


def _column(batches: list[Batch], name: str) -> Ints:
    rows = sum(map(len, batches))
    column = np.full(rows, NULL, np.int64)
    start = 0
    for batch in batches:
        if name in batch.fields:
            column[start : start + len(batch)] = batch.fields[name]
        start += len(batch)
    return column


def _rendered(column: Column, codes: Ints) -> pl.Series:
    """What a column's numbers say."""
    null = codes == NULL
    if column.kind == "money":
        return _money(codes, null)
    there = pl.Series(np.where(null, 0, codes))
    match column.kind:
        case "id":
            text = pl.lit(f"{PREFIX[column.of]}-") + pl.lit(there).cast(pl.String).str.zfill(7)
            values = pl.select(text).to_series() if len(there) else there.cast(pl.String)
        case "category":
            values = pl.Series(column.words).gather(there)
        case "text":
            values = column.render(there) if column.render else there.cast(pl.String)
        case "time":
            values = there.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        case "day":
            values = there.cast(pl.Int32).cast(pl.Date)
        case "percent":
            values = there / 100
        case "truth":
            values = there == 1
        case _:
            values = there
    return values.set(pl.Series(null), None) if null.any() else values


def _money(cents: Ints, null: npt.NDArray[np.bool_]) -> pl.Series:
    """Cents as exact decimals."""
    there = np.where(null, 0, cents)
    wide = np.stack([there, there >> 63], axis=1).tobytes()
    valid = np.packbits(~null, bitorder="little").tobytes()
    buffers = [pa.py_buffer(valid), pa.py_buffer(wide)]
    return pl.Series(pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), buffers))
