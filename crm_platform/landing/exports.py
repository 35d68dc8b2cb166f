"""An export's files to landed rows: whatever the format, each value is taken exactly or its row quarantined.

Reads files, writes none. When a snapshot is taken and where it lands is decided in `snapshots`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from crm_platform.contracts import UTC_US, Contract
from crm_platform.lake.query import json_fields
from crm_platform.landing.errors import ExportUnreadableError
from crm_platform.landing.quarantine import QUARANTINED, RAW, Arrival, quarantined
from crm_platform.landing.rows import Landed
from crm_platform.landing.typed import TEXT_KIND, typed
from crm_platform.sources import ExportFile, Manifest

_EXTRA = "_extra"
_PAYLOAD = "_payload"
_FIELDS = "_fields"
"""Names that no contract's column and hardly any delivered one has."""
_NOTHING = pl.lit(None, dtype=pl.String())


@dataclass(frozen=True)
class Part:
    """One file of an export: its rows with the types of the file, and for JSON lines the lines themselves.

    `delivered` has the manifest's names of the columns, `sources` leads from these to the names in the file. `waits_for`
    names columns on whose account rows wait in quarantine, and by which rule: one that the contract does not know holds
    back the rows that have a value in it, one that it does all of them.
    """

    delivered: pl.DataFrame
    sources: Mapping[str, str]
    lines: pl.Series | None = None
    waits_for: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str]) -> "Part":
        """The same rows with some columns under other names."""
        sources = {names.get(name, name): source for name, source in self.sources.items()}
        return replace(self, delivered=self.delivered.rename(names), sources=sources)


def parts_of(export: ExportFile, manifest: Manifest) -> list[Part]:
    """Reads the files of an export.

    Args:
        export: The files.
        manifest: What the object's columns are called.

    Raises:
        ExportUnreadableError: A file is truncated, or no file of its format.
    """
    read: dict[str, Callable[[Path], tuple[pl.DataFrame, pl.Series | None]]] = {
        "parquet": lambda path: (pl.read_parquet(path), None),
        "csv": lambda path: (pl.read_csv(path, infer_schema=False), None),
        "jsonl": _json_lines,
    }
    parts: list[Part] = []
    spec = manifest.spec(export.object)
    for path in export.paths:
        try:
            delivered, lines = read[export.format](path)
        except pl.exceptions.NoDataError:
            continue
        except (pl.exceptions.PolarsError, OSError) as broken:
            raise ExportUnreadableError.broken(export.object, path, type(broken).__name__) from broken
        names = spec.names_of(delivered.columns)
        parts.append(Part(delivered.rename(names), {name: source for source, name in names.items()}, lines))
    return parts


def snapshot_rows(parts: Sequence[Part], contract: Contract, export: ExportFile, arrival: Arrival) -> Landed:
    """Splits an export into landed rows and quarantined ones; a key that comes twice lands once.

    Args:
        parts: The files, read.
        contract: The object's contract.
        export: When the export began and ended, and whether it claims to be whole.
        arrival: How it came.

    Returns:
        `good` with the columns of landing/snapshot/<object>, `refused` with those of quarantine/<object>.
    """
    taken = [_taken(part, contract) for part in parts if part.delivered.height]
    if not taken:
        return Landed(pl.DataFrame(schema=contract.snapshot_schema), pl.DataFrame(schema=QUARANTINED), {})
    rows = (
        pl.concat(taken).with_row_index("row").with_columns(_twice(contract.key), *_times(export), *arrival.provenance)
    )
    sound = rows.filter(pl.col("faults").list.len() == 0)
    own = {name: f"value:{name}" for name in contract.columns}
    landed = sound.select(pl.col(own.get(n, n)).cast(dtype).alias(n) for n, dtype in contract.snapshot_schema.items())
    checked = contract.check(landed, "snapshot")
    broken = (
        checked.failures.with_columns(
            sound.get_column("row").gather(checked.failures.get_column("row")).alias("row"),
            pl.concat_str("rule", pl.lit(": "), "column").alias("fault"),
        )
        .group_by("row")
        .agg(pl.col("fault").alias("faults"))
    )
    refused = pl.concat(
        [
            rows.filter(pl.col("faults").list.len() > 0),
            rows.drop("faults").join(broken, on="row", how="inner").select(rows.columns),
        ]
    ).sort("row")
    counted: dict[str, int] = {}
    for part in parts:
        for name in part.delivered.columns:
            if name not in contract.columns:
                counted[name] = counted.get(name, 0) + part.delivered.get_column(name).count()
    return Landed(checked.good, _refused(refused, contract, arrival), counted)


def _json_lines(path: Path) -> tuple[pl.DataFrame, pl.Series]:
    """The rows of a file, and the lines that hold them; blank ones hold none."""
    lines = pl.scan_lines(path).collect().to_series()
    lines = lines.filter(lines.str.strip_chars() != "")
    if lines.is_empty():
        return pl.DataFrame(), lines
    return pl.read_ndjson("\n".join(lines).encode(), infer_schema_length=None), lines


def _taken(part: Part, contract: Contract) -> pl.DataFrame:
    """The contract's columns typed, with `_extra`, `faults`, `payload` and `fields` per delivered row.

    The payload is the row as the file has it, `fields` says the same under the manifest's names.
    """
    extra = [name for name in part.delivered.columns if name not in contract.columns]
    renamed = any(name != source for name, source in part.sources.items())
    fields = pl.col(_PAYLOAD)
    if part.lines is not None:
        sources = {name: part.sources.get(name, name) for name in contract.columns}
        told = json_fields(part.lines, list(sources.values())).rename(
            {f"{what}:{source}": f"{what}:{name}" for name, source in sources.items() for what in ("kind", "text")}
        )
        as_read = part.delivered.select(_as_json(part.delivered.columns).alias(_FIELDS), *extra)
        held = pl.concat([told, part.lines.alias(_PAYLOAD).to_frame(), as_read], how="horizontal")
        fields = pl.when("is_object").then(_FIELDS).otherwise(_PAYLOAD) if renamed else fields
        takes = {n: typed(pl.col(f"text:{n}"), pl.col(f"kind:{n}"), contract.schema[n]) for n in contract.columns}
        broken = pl.when(~pl.col("is_object")).then(pl.lit("malformed: line"))
    else:
        lists = [name for name, dtype in contract.schema.items() if isinstance(dtype, pl.List)]
        payload = _as_json(part.delivered.columns, part.sources)
        held = _lists_read(part.delivered, lists).with_columns(payload.alias(_PAYLOAD))
        fields = _as_json(part.delivered.columns) if renamed else fields
        takes = {name: _take(name, held, contract.schema[name]) for name in contract.columns}
        broken = _NOTHING
    faults = [pl.concat_str(fault, pl.lit(f": {name}")) for name, (_, fault) in takes.items()]
    waits = [
        pl.when(pl.col(name).is_not_null() if name in extra else pl.lit(value=True)).then(pl.lit(f"{rule}: {name}"))
        for name, rule in part.waits_for.items()
    ]
    return held.select(
        *(value.cast(contract.schema[name]).alias(f"value:{name}") for name, (value, _) in takes.items()),
        (_as_json(extra, part.sources) if extra else _NOTHING).alias(_EXTRA),
        pl.concat_list(broken, *waits, *faults).list.drop_nulls().alias("faults"),
        pl.col(_PAYLOAD).alias("payload"),
        fields.alias("fields"),
    ).with_columns(pl.col(f"value:{contract.key}").cast(pl.String).alias("entity_id"))


def _as_json(names: list[str], called: Mapping[str, str] | None = None) -> pl.Expr:
    return pl.struct(pl.col(name).alias((called or {}).get(name, name)) for name in names).struct.json_encode()


def _lists_read(delivered: pl.DataFrame, lists: list[str]) -> pl.DataFrame:
    """Lists that a file of text holds as JSON, with the kind they are."""
    kinds: list[pl.Series] = []
    for name in lists:
        if delivered.schema.get(name) == pl.String():
            wrapped = delivered.select(pl.concat_str(pl.lit('{"list": '), name, pl.lit("}"))).to_series()
            kinds.append(json_fields(wrapped, ["list"]).get_column("kind:list").alias(f"kind:{name}"))
    return delivered.with_columns(kinds)


def _take(name: str, held: pl.DataFrame, wanted: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    """A column of a typed file: as it is, or through a cast that loses nothing."""
    if name not in held.columns:
        return pl.lit(None, dtype=wanted), _NOTHING
    found, column = held.schema[name], pl.col(name)
    if found in (wanted, pl.Null()):
        return column.cast(wanted), _NOTHING
    if found == pl.String():
        kind = pl.col(f"kind:{name}") if f"kind:{name}" in held.columns else pl.lit(TEXT_KIND)
        return typed(column, kind, wanted)
    if isinstance(found, pl.Datetime) and found.time_zone is None:
        return pl.lit(None, dtype=wanted), pl.when(column.is_not_null()).then(pl.lit("naive_timestamp"))
    if not _may_cast(found, wanted):
        return pl.lit(None, dtype=wanted), pl.when(column.is_not_null()).then(pl.lit("type"))
    value = column.cast(wanted, strict=False)
    kept = (value.cast(found, strict=False) == column).fill_null(value=False)
    return pl.when(kept).then(value), pl.when(column.is_not_null() & ~kept).then(pl.lit("type"))


def _may_cast(found: pl.DataType, wanted: pl.DataType) -> bool:
    if found.is_integer() or isinstance(found, pl.Decimal):
        return wanted.is_numeric()
    if isinstance(found, pl.Datetime):
        return wanted == UTC_US
    if isinstance(found, pl.List):
        return isinstance(wanted, pl.List) and found.inner == pl.Null()
    return (found.is_float() and wanted.is_float()) or (
        isinstance(found, pl.Enum | pl.Categorical) and wanted == pl.String()
    )


def _twice(key: str) -> pl.Expr:
    """The faults, with one more for every row whose key an earlier row has."""
    again = pl.col("entity_id").is_not_null() & ~pl.col("entity_id").is_first_distinct()
    repeated = pl.when(again).then(pl.lit(f"duplicate_key: {key}")).otherwise(_NOTHING)
    return pl.concat_list("faults", repeated).list.drop_nulls().alias("faults")


def _times(export: ExportFile) -> list[pl.Expr]:
    return [
        pl.lit(export.started_at, dtype=UTC_US).alias("started_at"),
        pl.lit(export.finished_at, dtype=UTC_US).alias("finished_at"),
        pl.lit(export.finished_at, dtype=UTC_US).dt.date().alias("snapshot_date"),
        pl.lit(export.complete).alias("_complete"),
    ]


def _refused(rows: pl.DataFrame, contract: Contract, arrival: Arrival) -> pl.DataFrame:
    told = rows.with_columns(
        pl.lit("snapshot").alias("operation"),
        _NOTHING.alias("source_position"),
        pl.col("started_at").alias("event_time"),
        pl.col("finished_at").alias("processed_time"),
    ).with_columns(
        pl.struct(
            pl.lit(contract.object).alias("object"),
            "entity_id",
            "operation",
            "event_time",
            "processed_time",
            "fields",
        )
        .struct.json_encode()
        .alias(RAW)
    )
    return quarantined(told, arrival)
