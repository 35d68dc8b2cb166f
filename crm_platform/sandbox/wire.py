"""How values look on the wire: moments in ISO 8601 with µs and Z, money as text, days as days.

What is told stands in the server's modules.
"""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

Format = Literal["parquet", "csv", "jsonl"]
MEDIA = {"parquet": "application/vnd.apache.parquet", "csv": "text/csv", "jsonl": "application/x-ndjson"}


def moment_text(moment: datetime) -> str:
    """A moment as the API writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def texts(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with everything that JSON has no type for as text; a naive moment has no Z."""
    told: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime):
            told.append(column.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("Z" if dtype.time_zone else "")))
        elif isinstance(dtype, pl.Decimal | pl.Date):
            told.append(column.cast(pl.String))
        else:
            told.append(column)
    return frame.select(told)


def records(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON objects."""
    return texts(frame).to_dicts()


def save(frame: pl.DataFrame, path: Path, form: Format) -> None:
    """Writes one part of an export."""
    if form == "parquet":
        frame.write_parquet(path, compression="zstd")
    elif form == "jsonl":
        texts(frame).write_ndjson(path)
    else:
        lists = [
            pl.Series(name, [None if cell is None else json.dumps(cell.to_list()) for cell in frame[name]], pl.String)
            for name, dtype in frame.schema.items()
            if isinstance(dtype, pl.List)
        ]
        buffer = io.BytesIO()
        texts(frame).with_columns(lists).write_csv(buffer, quote_style="necessary")
        path.write_bytes(buffer.getvalue())
