"""Reads a generated log: what happened between two offsets, and what stood in the CRM at a moment.

How it was written stands in `journal`; how it is told to clients in `feed` and `exports`. `Truth` answers the second
question again, in plain Python, for tests.
"""

import json
from collections import OrderedDict
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import RLock

import numpy as np
import numpy.typing as npt
import polars as pl

from crm_platform.sandbox.journal import FULL
from crm_platform.sandbox.vocabulary import COLUMNS, OBJECTS

KEPT_SEGMENTS = 3
KEPT_ROWS = 500_000
ROWS_AT_ONCE = 400_000
TOMBSTONES = ("delete", "merge")
MICROSECOND = 1_000_000


def microseconds(moment: datetime) -> int:
    """A moment as microseconds since 1970."""
    return round(moment.timestamp() * MICROSECOND)


class ChangeLog:
    """A generated log in a folder. One reader may be used from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / "index.json").read_text())
        self.segments: list[dict[str, int]] = index["segments"]
        self.events: int = index["offset"]
        self.rows: int = index["rows"]
        self._lock = RLock()
        self._kept: OrderedDict[tuple[str, int], pl.DataFrame] = OrderedDict()
        self._whole: dict[str, pl.DataFrame] = {}
        self._states: OrderedDict[tuple[str, datetime, datetime], pl.DataFrame] = OrderedDict()

    def scan(self, of: str) -> pl.LazyFrame:
        """All rows of an object, hidden ones included."""
        return pl.scan_parquet(self.folder / of / "*.parquet")

    @cached_property
    def visible(self) -> npt.NDArray[np.int64]:
        """When each event shows up in the feed, in microseconds, by offset (the first is offset 1)."""
        parts: list[pl.Series] = []
        for number in range(len(self.segments)):
            paths = [self.folder / of / f"{number:05d}.parquet" for of in OBJECTS]
            columns = [pl.scan_parquet(path).filter(~pl.col("_hidden")).select("_offset", "_visible") for path in paths]
            parts.append(pl.concat(columns).sort("_offset").collect().get_column("_visible"))
        return pl.concat(parts).cast(pl.Int64).to_numpy()

    def offset_at(self, moment: datetime) -> int:
        """The last offset that shows at a moment; 0 for none."""
        return int(np.searchsorted(self.visible, microseconds(moment), side="right"))

    def between(self, after: int, upto: int) -> dict[str, pl.DataFrame]:
        """The feed's rows with `after < offset <= upto`, by object, in offset order."""
        numbers = [n for n, told in enumerate(self.segments) if told["first"] <= upto and told["last"] > after]
        found: dict[str, pl.DataFrame] = {}
        for of in OBJECTS:
            parts = [self._cut(of, number, after, upto) for number in numbers]
            rows = pl.concat(parts) if parts else None
            if rows is not None and rows.height:
                found[of] = rows
        return found

    def _cut(self, of: str, number: int, after: int, upto: int) -> pl.DataFrame:
        frame = self._segment(of, number)
        offsets = frame.get_column("_offset")
        first, last = (int(offsets.search_sorted(bound, side="right")) for bound in (after, upto))
        return frame.slice(first, last - first)

    def _segment(self, of: str, number: int) -> pl.DataFrame:
        """The rows of a segment that the feed shows."""
        with self._lock:
            if (of, number) in self._kept:
                self._kept.move_to_end((of, number))
                return self._kept[of, number]
            path = self.folder / of / f"{number:05d}.parquet"
            frame = pl.read_parquet(path).filter(~pl.col("_hidden")).sort("_offset")
            self._kept[of, number] = frame
            while len(self._kept) > KEPT_SEGMENTS * len(OBJECTS):
                self._kept.popitem(last=False)
            return frame

    def state(self, of: str, *, as_of: datetime, clock: datetime) -> pl.DataFrame:
        """What is known of an object's entities, the dead included: each register shows its newest write.

        Args:
            of: The object.
            as_of: Both the edit and its commit lie at or before it.
            clock: What has not shown up by now is left out.

        Returns:
            One row per entity, sorted by id: its columns, `_deleted`, `_hard` and `_merged_into`.
        """
        with self._lock:
            key = (of, as_of, clock)
            if key not in self._states:
                self._states[key] = self._registers(of, as_of, clock)
                while len(self._states) > 1 and sum(map(len, self._states.values())) > KEPT_ROWS:
                    self._states.popitem(last=False)
            self._states.move_to_end(key)
            return self._states[key]

    def _source(self, of: str) -> pl.LazyFrame:
        """All rows of an object; those of a small log are read from disk but once."""
        if self.rows > ROWS_AT_ONCE:
            return self.scan(of)
        if of not in self._whole:
            self._whole[of] = self.scan(of).collect()
        return self._whole[of].lazy()

    def _registers(self, of: str, as_of: datetime, clock: datetime) -> pl.DataFrame:
        """The registers of all entities, worked out for one range of ids after the other."""
        known = (pl.col("_commit") <= as_of) & (pl.col("_event") <= as_of) & (pl.col("_visible") <= clock)
        rows = self._source(of).filter(known)
        count = int(rows.select(pl.len()).collect().item())
        if count <= ROWS_AT_ONCE:
            return registers(rows.collect(), of)
        bounds = rows.select("id").collect().get_column("id").sort().gather_every(ROWS_AT_ONCE).to_list()
        ranges = zip(bounds, [*bounds[1:], None], strict=True)
        told = [
            (pl.col("id") >= first) & (pl.lit(value=True) if end is None else pl.col("id") < end)
            for first, end in ranges
        ]
        return pl.concat([registers(rows.filter(part).collect(), of) for part in told])


def registers(rows: pl.DataFrame, of: str) -> pl.DataFrame:
    """One row per entity, sorted by id: what its registers show, of the rows given."""
    names = [name for name in COLUMNS[of] if name != "id"]
    dead = pl.col("_operation").is_in(TOMBSTONES)
    link = pl.col("_operation").is_in(["merge", "undelete"])
    bits = {name: 1 << place for place, name in enumerate(COLUMNS[of])}
    written = {name: (pl.col("_mask") == FULL) | ((pl.col("_mask") & bits[name]) != 0) for name in names}
    single = pl.len().over("id") == 1
    once, often = rows.filter(single), rows.filter(~single)
    alone = once.select("id", *names, dead.alias("_deleted"), "_hard", "_merged_into")
    several = (
        often.sort("_event", "_commit", "_place")
        .group_by("id")
        .agg(
            *(pl.col(name).filter(written[name]).last() for name in names),
            dead.last().alias("_deleted"),
            pl.col("_hard").any(),
            pl.col("_merged_into").filter(link).last(),
        )
    )
    return pl.concat([alone, several]).sort("id")
