"""Files of made rows, of any size: written in pieces, in bounded memory, once, and found again by what they hold.

What a row looks like is `made_data`'s business.
"""

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq

from crm_platform_tests.benchmarks import made_data

GROUP = 131_072
"""Rows in a row group, as the lake writes them."""
PIECE = 8 * GROUP
LAYOUTS = ("activity", "account")
"""What files of activities are sorted by, then by time: their own id, as history keeps them, or the account's."""

_CODE = hashlib.sha256(inspect.getsource(made_data).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Size:
    """How much is made: one entity per 50 versions, one question per 10."""

    rows: int

    @property
    def entities(self):
        return max(self.rows // 50, 1)

    @property
    def questions(self):
        return max(self.rows // 10, 1)


def activities(folder, size, *, is_skewed=False, is_corrected=False, is_at_once=False, layout="activity"):
    """Activities sorted as the layout says; corrected ones come to the same number of versions."""
    shape = (
        ("skewed" if is_skewed else "even") + ("-corrected" if is_corrected else "") + ("-atonce" if is_at_once else "")
    )
    plain = _path(folder, f"activities-{size.rows}-{shape}")
    if layout == "account":
        return _sorted_by(plain.with_stem(f"{plain.stem}-account"), "account_id, occurred_at, entity_id", activities,
                          folder, size, is_skewed=is_skewed, is_corrected=is_corrected, is_at_once=is_at_once)  # fmt: skip
    originals = size.rows * 10 // 11 if is_corrected else size.rows

    def pieces():
        for first in range(0, originals, PIECE):
            yield made_data.activities(
                min(PIECE, originals - first), size.entities, is_skewed=is_skewed, is_corrected=is_corrected,
                is_at_once=is_at_once, first=first, seed=[1, first],
            )  # fmt: skip

    return _kept(plain, pieces)


def versions(folder, size, *, is_at_once=False):
    name = f"versions-{size.rows}" + ("-atonce" if is_at_once else "")
    return _kept(_path(folder, name), lambda: _by_entity(size, made_data.versions, is_at_once=is_at_once))


def timeline(folder, size):
    return _kept(_path(folder, f"timeline-{size.rows}"), lambda: _by_entity(size, made_data.timeline))


def wide_timeline(folder, size):
    return _kept(_path(folder, f"wide-{size.rows}"), lambda: _by_entity(size, made_data.wide_timeline))


def merges(folder, size):
    return _kept(_path(folder, f"merges-{size.rows}"), lambda: [made_data.merges(size.entities)])


def spine(folder, size, *, is_skewed=False, questions=None):
    asked = questions or size.questions
    name = f"spine-{size.rows}-{asked}" + ("-skewed" if is_skewed else "")
    return _kept(_path(folder, name), lambda: [made_data.spine(asked, size.entities, is_skewed=is_skewed)])


def made_from(source, name, make):
    """What a lazy frame made of a file gives, kept beside that file."""
    path = source.with_stem(f"{name}-of-{source.stem}")
    if not path.exists():
        part = path.with_suffix(".part")
        make().sink_parquet(part, row_group_size=GROUP)
        part.rename(path)
    return path


def _path(folder, name):
    return Path(folder) / f"{name}-{_CODE}.parquet"


def _by_entity(size, make, **shape):
    """Pieces of whole ranges of entities, so that the file is sorted by them."""
    pieces = -(-size.rows // PIECE)
    for number in range(pieces):
        low, high = (size.entities * edge // pieces for edge in (number, number + 1))
        begin, end = (size.rows * edge // pieces for edge in (number, number + 1))
        yield make(end - begin, high - low, first=low, seed=[2, number], **shape)


def _kept(path, pieces):
    """The file, written if it is not there; a half-written one is never found."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    writer, held, part = None, None, path.with_suffix(".part")
    for piece in pieces():
        held = piece if held is None else pl.concat([held, piece])
        whole = held.height // GROUP * GROUP
        writer = writer or pq.ParquetWriter(part, _arrow(held).schema, compression="zstd")
        if whole:
            writer.write_table(_arrow(held[:whole]), row_group_size=GROUP)
            held = held[whole:]
    if held.height:
        writer.write_table(_arrow(held), row_group_size=GROUP)
    writer.close()
    return part.rename(path)


def _sorted_by(path, order, make, folder, size, **shape):
    """The same rows in another order, sorted beyond memory."""
    if path.exists():
        return path
    source, part = make(folder, size, **shape), path.with_suffix(".part")
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": f"{part}.tmp"}) as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_parquet('{source}') ORDER BY {order}) TO '{part}' "  # noqa: S608  our own file
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP})"
        )
    return part.rename(path)


def _arrow(frame):
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
