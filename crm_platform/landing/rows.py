"""Raw changes to landed rows: typed by their contract, or quarantined with the rule they broke; none is lost.

Pure: frames in, frames out. Reading a source stands in `sources`, writing a table in `feed`.
"""

from dataclasses import dataclass
from dataclasses import field as dataclass_field

import polars as pl

from crm_platform.contracts import RAW_CHANGE, TOMBSTONES, UTC_US, Contract
from crm_platform.lake.query import json_fields
from crm_platform.landing.quarantine import QUARANTINED, RAW, Arrival, quarantined
from crm_platform.landing.typed import typed

RECONSTRUCTED = "reconstructed"


@dataclass(frozen=True)
class Landed:
    """A batch of one object, split: as many rows as came.

    `good` has the columns of landing/changes/<object>, `refused` those of quarantine/<object>; `unknown` counts the
    delivered fields that the contract does not know, by name; `taken` says per row that came whether it is good.
    """

    good: pl.DataFrame
    refused: pl.DataFrame
    unknown: dict[str, int]
    taken: pl.Series = dataclass_field(default_factory=lambda: pl.Series(dtype=pl.Boolean))


def landed_rows(raw: pl.DataFrame, contract: Contract, arrival: Arrival) -> Landed:
    """Splits the raw changes of one object into landed rows and quarantined ones.

    A row is held only to what it writes: a full image to the whole contract, a partial update to the fields it names, a
    tombstone to none. Fields it does not write are null.

    Args:
        raw: RAW_CHANGE rows of this object.
        contract: The object's contract.
        arrival: How the rows came; its `knowledge` decides what their processed_time is.
    """
    if raw.is_empty():
        return Landed(pl.DataFrame(schema=contract.change_schema), pl.DataFrame(schema=QUARANTINED), {})
    names = contract.columns
    read = json_fields(raw.get_column("fields"), names)
    delivered = pl.concat([raw.select(list(RAW_CHANGE)), read], how="horizontal").with_row_index("row")
    held = delivered.with_columns(_provenance(contract, arrival)).with_columns(_written(name) for name in names)
    takes = {name: typed(_text(name, contract), _kind(name, contract), contract.schema[name]) for name in names}
    told = held.with_columns(
        *(
            pl.when(f"writes:{name}").then(pl.concat_str(fault, pl.lit(f": {name}"))).alias(f"fault:{name}")
            for name, (_, fault) in takes.items()
        ),
        *(pl.when(f"writes:{name}").then(value).alias(f"value:{name}") for name, (value, _) in takes.items()),
    ).with_columns(_faults(contract))
    sound = told.filter(pl.col("faults").list.len() == 0)
    own = {name: f"value:{name}" for name in names}
    landed = sound.select(pl.col(own.get(n, n)).cast(dtype).alias(n) for n, dtype in contract.change_schema.items())
    checked = contract.check(landed, "change")
    broken = _broken(checked.failures, sound.get_column("row"))
    refused = pl.concat(
        [
            told.filter(pl.col("faults").list.len() > 0),
            told.drop("faults").join(broken, on="row", how="inner").select(told.columns),
        ]
    ).sort("row")
    as_read = _raw(raw.select(list(RAW_CHANGE))[refused.get_column("row")])
    return Landed(
        checked.good,
        quarantined(pl.concat([refused, as_read], how="horizontal"), arrival),
        _unknown(read.get_column("keys"), names),
        ~told.get_column("row").is_in(refused.get_column("row").implode()),
    )


def _text(name: str, contract: Contract) -> pl.Expr:
    text = pl.col(f"text:{name}")
    return pl.coalesce(text, "entity_id") if name == contract.key else text


def _kind(name: str, contract: Contract) -> pl.Expr:
    kind = pl.col(f"kind:{name}")
    return (
        pl.when(pl.col(f"text:{name}").is_null()).then(pl.lit("VARCHAR")).otherwise(kind)
        if name == contract.key
        else kind
    )


def _written(name: str) -> pl.Expr:
    named = pl.col("changed_fields").list.contains(name).fill_null(value=True)
    return (~pl.col("is_tombstone") & named).alias(f"writes:{name}")


def _provenance(contract: Contract, arrival: Arrival) -> list[pl.Expr]:
    now = pl.lit(arrival.now, dtype=UTC_US)
    believed = {
        "source": pl.coalesce("processed_time", now),
        "ingest": now,
        RECONSTRUCTED: pl.coalesce("processed_time", "event_time", now),
    }[arrival.knowledge]
    origin = pl.col("change_origin")
    if arrival.knowledge == RECONSTRUCTED:
        origin = pl.concat_str(pl.lit(RECONSTRUCTED), pl.concat_str(pl.lit(": "), origin).fill_null(""))
    arrived = pl.concat_str(
        pl.lit(f"{arrival.batch_id}-"), pl.int_range(pl.len()).cast(pl.String).str.pad_start(9, "0")
    )
    known = pl.element().is_in(contract.columns)
    return [
        pl.coalesce("event_time", believed).alias("event_time"),
        believed.alias("processed_time"),
        believed.dt.date().alias("processed_date"),
        pl.col("operation").is_in(TOMBSTONES).fill_null(value=False).alias("is_tombstone"),
        pl.coalesce("source_position", arrived).alias("source_position"),
        pl.col("changed_fields").list.filter(known).alias("changed_fields"),
        pl.col("payload").alias("_payload"),
        pl.col("changed_by").alias("_changed_by"),
        origin.alias("_change_origin"),
        *arrival.provenance,
    ]


def _faults(contract: Contract) -> pl.Expr:
    key = contract.key
    repeated = pl.col("keys").list.len() != pl.col("keys").list.n_unique()
    writes = ~pl.col("is_tombstone") & pl.col("error").is_null()
    told = [
        pl.col("error"),
        pl.when(pl.col("entity_id").is_null()).then(pl.lit("no_key: entity_id")),
        pl.when(pl.col("operation").is_null()).then(pl.lit("not_nullable: operation")),
        pl.when(writes & ~pl.col("is_object")).then(pl.lit("malformed: fields")),
        pl.when(writes & repeated).then(pl.lit("duplicate_key: fields")),
        pl.when(writes & (pl.col(f"text:{key}") != pl.col("entity_id"))).then(pl.lit(f"key_mismatch: {key}")),
        *(pl.when(pl.col("error").is_null()).then(pl.col(f"fault:{name}")) for name in contract.columns),
    ]
    return pl.concat_list(told).list.drop_nulls().alias("faults")


def _broken(failures: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """Per refused row its position in the batch and the rules it broke."""
    return (
        failures.with_columns(
            rows.gather(failures.get_column("row")).alias("row"),
            pl.concat_str("rule", pl.lit(": "), "column").alias("fault"),
        )
        .group_by("row")
        .agg(pl.col("fault").alias("faults"))
    )


def _raw(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as their source read them, as JSON text, without the payload that stands beside it."""
    return rows.select(pl.struct(pl.exclude("payload")).struct.json_encode().alias(RAW))


def _unknown(keys: pl.Series, names: list[str]) -> dict[str, int]:
    seen = keys.explode().drop_nulls()
    counted = seen.filter(~seen.is_in(names)).value_counts(sort=True, name="count")
    return dict(counted.iter_rows())
