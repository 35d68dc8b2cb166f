"""Work on one stretch after the other, side by side in threads and in order, so that no more is held than is being used.

What a stretch is, and what is done on it, is the caller's.
"""

import ctypes
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import polars as pl
from polars.io.plugins import register_io_source

Stretch = TypeVar("Stretch")
Result = TypeVar("Result")


class DisorderError(Exception):
    """What passes by does not stand in the order of entities: whoever wants it has to hold all of it."""


def side_by_side(work: Callable[[Stretch], Result], stretches: Iterable[Stretch]) -> Iterator[Result]:
    """The work on each stretch, in order; numpy and Polars let threads run at the same time.

    No more stretches are begun than there are threads, and one for whoever takes the results.
    """
    threads = pl.thread_pool_size()
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for stretch in stretches:
                begun.append(pool.submit(work, stretch))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


def streamed(frames: Callable[[], Iterator[pl.DataFrame]], schema: pl.Schema) -> pl.LazyFrame:
    """Frames that are made when they are read, one after the other, each time anew."""

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        left = rows
        for frame in frames():
            made = frame if predicate is None else frame.filter(predicate)
            made = made if columns is None else made.select(columns)
            made = made if left is None else made.head(left)
            yield made
            left = None if left is None else left - made.height
            if left == 0:
                return

    return register_io_source(read, schema=schema)


def give_back() -> None:
    """Memory that is free goes back to the system: glibc keeps it where it lies between what is held."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
