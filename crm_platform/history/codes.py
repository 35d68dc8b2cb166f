"""Ids as small numbers in the order of the ids, so that everything after can sort, compare and look up integers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PART = 1_000_000
"""How many texts are worth a thread of their own."""

ABSENT = -1
"""The code of a null, or of an id that nobody knows."""


def side_by_side(work: Callable[[pl.Series], pl.Series], column: pl.Series) -> list[pl.Series]:
    """The work on a column, or on as many parts of a long one as there are threads."""
    if len(column) <= PART:
        return [work(column)]
    threads = pl.thread_pool_size()
    part = -(-len(column) // threads)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, [column.slice(at, part) for at in range(0, len(column), part)]))


class Codes:
    """A set of ids, numbered in their own order (text bytewise)."""

    def __init__(self, ids: pl.Series) -> None:
        """Numbers ids that are sorted, distinct and not null."""
        self.ids = ids
        self._numbered = pl.DataFrame({"id": ids, "code": pl.int_range(len(ids), dtype=pl.Int64, eager=True)})

    @classmethod
    def of(cls, *columns: pl.Series) -> "Codes":
        """Numbers all ids that occur in any of the columns (of one type)."""
        distinct = [part for column in columns for part in side_by_side(pl.Series.unique, column)]
        return cls(pl.concat(part.alias("id") for part in distinct).unique().drop_nulls().sort())

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self.ids)

    def encode(self, column: pl.Series) -> Ints:
        """The code of each id; ABSENT for a null or an unknown one."""
        if column.dtype == pl.String and self.ids.dtype == pl.String:
            codes = self._looked_up(column)
        else:
            asked = column.alias("id").to_frame()
            codes = asked.join(self._numbered, on="id", how="left", maintain_order="left")["code"]
        return codes.fill_null(ABSENT).to_numpy().astype(np.int64, copy=False)

    def _looked_up(self, column: pl.Series) -> pl.Series:
        known = pl.Enum(self.ids)

        def of(part: pl.Series) -> pl.Series:
            return part.cast(known, strict=False).to_physical().cast(pl.Int64)

        return pl.concat(side_by_side(of, column))

    def between(self, low: object | None, high: object | None) -> tuple[int, int]:
        """The first code at or after one id, and the first at or after another; None for no bound."""
        ends = (0 if low is None else self._first_at(low), len(self) if high is None else self._first_at(high))
        return ends[0], max(ends)

    def _first_at(self, bound: object) -> int:
        return int((self.ids < pl.Series([bound], dtype=self.ids.dtype)).sum())

    def decode(self, codes: Ints) -> pl.Series:
        """The ids of codes; null for ABSENT."""
        return self.ids.gather(positions(codes))


def positions(indices: Ints) -> pl.Series:
    """Indices to gather by: a negative one gathers a null."""
    column = pl.Series(indices)
    return column if not len(indices) or indices.min() >= 0 else column.set(column < 0, None)
