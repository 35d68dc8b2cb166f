"""Ids as small numbers in the order of the ids, so that everything after can sort, compare and look up integers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Answer = TypeVar("Answer")

PART = 1_000_000
"""How many texts are worth a thread of their own."""

ABSENT = -1
"""The code of a null, or of an id that nobody knows."""


def in_parts(work: Callable[[int, pl.Series], Answer], column: pl.Series) -> list[Answer]:
    """The work on a column, or on as many parts of a long one as there are threads; each is told where it begins."""
    if len(column) <= PART:
        return [work(0, column)]
    threads = pl.thread_pool_size()
    size = -(-len(column) // threads)
    begins = range(0, len(column), size)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, begins, [column.slice(low, size) for low in begins]))


class Codes:
    """A set of ids, numbered in their own order (text bytewise)."""

    def __init__(self, ids: pl.Series) -> None:
        """Numbers ids that are sorted, distinct and not null."""
        self.ids = ids

    @classmethod
    def of(cls, *columns: pl.Series) -> "Codes":
        """Numbers all ids that occur in any of the columns (of one type)."""
        together = pl.concat(column.alias("id").to_frame().lazy() for column in columns)
        return cls(together.drop_nulls().unique().sort("id").collect(engine="streaming")["id"])

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self.ids)

    def encode(self, column: pl.Series) -> Ints:
        """The code of each id; ABSENT for a null or an unknown one."""
        if column.is_empty():
            return np.zeros(0, dtype=np.int64)
        if column.dtype == pl.String and self.ids.dtype == pl.String:
            return self._looked_up(column)
        asked = column.alias("id").to_frame()
        numbered = pl.DataFrame({"id": self.ids}).with_row_index("code")
        codes = asked.join(numbered, on="id", how="left", maintain_order="left")["code"]
        return codes.fill_null(ABSENT).to_numpy().astype(np.int64, copy=False)

    @cached_property
    def texts(self) -> pl.Enum:
        """The type of these ids, if they are texts: what is read as one takes four bytes, null where nobody knows it."""
        return pl.Enum(self.ids)

    def numbers(self, column: pl.Series) -> Ints:
        """The code of each id of that type; ABSENT for a null."""
        codes = column.to_physical().fill_null(0).to_numpy().astype(np.int64)
        if column.null_count():
            codes[column.is_null().to_numpy()] = ABSENT
        return codes

    def _looked_up(self, column: pl.Series) -> Ints:
        low, high = self._around(column)
        if low >= high:
            return np.full(len(column), ABSENT, dtype=np.int64)
        if 2 * (high - low) <= len(self):
            codes = Codes(self.ids.slice(low, high - low)).encode(column)
            codes[codes != ABSENT] += low
            return codes
        codes = np.empty(len(column), dtype=np.int64)

        def look_up(low: int, part: pl.Series) -> None:
            codes[low : low + len(part)] = self.numbers(part.cast(self.texts, strict=False))

        in_parts(look_up, column)
        return codes

    def _around(self, column: pl.Series) -> tuple[int, int]:
        """Between which codes all ids of a column lie: a batch of sorted ids is looked up among few."""
        if column.null_count() == len(column):
            return 0, 0
        least, most = (pl.Series([end], dtype=pl.String) for end in (column.min(), column.max()))
        return int(self.ids.search_sorted(least, side="left")[0]), int(self.ids.search_sorted(most, side="right")[0])

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


def gathered(rows: pl.DataFrame, indices: Ints) -> pl.DataFrame:
    """The rows at some indices; nulls at a negative one.

    One column after the other is put into one piece first: gathering from many pieces takes several times as long, and all
    columns at once as much memory again.
    """
    where = positions(indices)
    return pl.DataFrame([column.rechunk().gather(where) for column in rows.get_columns()])
