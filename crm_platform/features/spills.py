"""Rows set apart on disk, part by part: what is too large to be held is read once, however many parts are made of it.

Which row belongs to which part is the caller's business.
"""

import io
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile, gettempdir
from typing import BinaryIO

import polars as pl

from crm_platform.features.streams import side_by_side, streamed
from crm_platform.history.codes import Ints

ROWS_AT_ONCE = 500_000
"""How many rows are set apart at once, about: pieces of fewer are slow to read again, and some times as many are held."""

TOGETHER = 16
"""How many pieces are read together."""

Place = tuple[int, int]
"""Where a piece of a part begins in the file, and how many bytes it takes."""


@contextmanager
def set_apart(
    rows: pl.LazyFrame, parts: int, rows_of: Callable[[pl.DataFrame], Sequence[Ints]]
) -> Generator[list[pl.LazyFrame]]:
    """The rows of each part, in the order in which they stand; to be read while the context lasts.

    They lie in one compressed file without a name, in the system's folder for temporary files (TMPDIR): it is gone with
    the process, however that ends.

    Args:
        rows: All rows.
        parts: How many parts there are.
        rows_of: Which rows of a batch belong to each part, rising; a row may belong to several, or to none.

    Raises:
        OSError: There is no room for them; says where.
    """
    schema = rows.collect_schema()

    def packed(batch: pl.DataFrame) -> list[bytes]:
        return [_packed(batch[pl.Series(found, dtype=pl.UInt32)]) for found in rows_of(batch)]

    with TemporaryFile(buffering=0) as file:
        places: list[list[Place]] = [[] for _ in range(parts)]
        for pieces in side_by_side(packed, _batches(rows)):
            for of_part, piece in zip(places, pieces, strict=True):
                of_part.append((file.tell(), len(piece)))
                _write(file, piece)
        yield [_part(file, of_part, schema) for of_part in places]


def _part(file: BinaryIO, places: Sequence[Place], schema: pl.Schema) -> pl.LazyFrame:
    def piece(place: Place) -> pl.DataFrame:
        file.seek(place[0])
        return pl.read_ipc_stream(file.read(place[1]))

    def pieces() -> Iterator[pl.DataFrame]:
        for begin in range(0, len(places), TOGETHER):
            yield pl.concat([piece(place) for place in places[begin : begin + TOGETHER]], rechunk=True)

    return streamed(pieces, schema)


def _write(file: BinaryIO, piece: bytes) -> None:
    left = memoryview(piece)
    try:
        while left:
            left = left[file.write(left) :]  # where room ends, what fits is written without an error
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror}: rows that are too many to be held are set apart in {gettempdir()}, about sixty bytes for "
            "each. Make room there, or name another folder as TMPDIR",
        ) from error


def _packed(rows: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    rows.write_ipc_stream(written, compression="lz4")
    return written.getvalue()


def _batches(rows: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    count = 0
    for batch in rows.collect_batches(maintain_order=True):
        held.append(batch)
        count += batch.height
        if count >= ROWS_AT_ONCE:
            yield pl.concat(held)
            held, count = [], 0
    if held:
        yield pl.concat(held)
