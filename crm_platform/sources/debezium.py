"""One line of a Debezium log read as one raw change: envelope, types, positions.

Lines only: reading files, transactions and batches stand in `log`.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.sources.manifest import ObjectSpec
from crm_platform.sources.transport import DebeziumTransport, picked

OPERATIONS = {"c": "create", "u": "update", "d": "delete", "r": "snapshot"}
MESSAGE = "m"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1)
PER_SECOND = {"epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
LOCAL_TIMES = {
    "io.debezium.time.Timestamp": "epoch_ms",
    "io.debezium.time.MicroTimestamp": "epoch_us",
    "io.debezium.time.NanoTimestamp": "epoch_ns",
    "org.apache.kafka.connect.data.Timestamp": "epoch_ms",
}
"""Schema names of times without a zone, and how they are written."""

Decoder = Callable[[Any], Any]


@dataclass(frozen=True)
class RowEvent:
    """One row event of a table that the manifest names; times in µs since the epoch."""

    object: str
    entity_id: str | None
    op: str
    transaction: str | None
    committed: int | None
    lsn: int | None
    order: int
    after: Mapping[str, Any] | None
    names: Mapping[str, Mapping[str, Any]]

    @property
    def position(self) -> str | None:
        """Where the event stands in the log: sorts bytewise as (lsn, order) does."""
        return None if self.lsn is None else f"{self.lsn:020d}-{self.order:010d}"


@dataclass(frozen=True)
class Marker:
    """The end of a transaction: how many changes it has of each object that the manifest names."""

    transaction: str
    counts: Mapping[str, int]


def marker(transport: DebeziumTransport, topics: Mapping[str, str], line: Mapping[str, Any]) -> Marker | None:
    """Reads a line of the topic of markers; None where it is another's, or ends no transaction.

    Args:
        transport: How the log writes its events.
        topics: The object that each topic carries.
        line: The line: topic, key and value.
    """
    told = unwrapped(line.get("value"))[1]
    if transport.markers is None or line.get("topic") != transport.markers or picked(told, "status") != "END":
        return None
    name = str(picked(told, "id"))
    if not transport.transaction.startswith("transaction"):
        name = name.partition(":")[0]  # an event's transaction is a number, its marker's id that number and a position
    counts: dict[str, int] = {}
    for part in picked(told, "data_collections") or []:
        found = next((held for topic, held in topics.items() if topic.endswith(f".{part['data_collection']}")), None)
        if found is not None:
            counts[found] = counts.get(found, 0) + int(part["event_count"])
    return Marker(name, counts)


def unwrapped(value: Any) -> tuple[Mapping[str, Any], Any]:
    """The schema block (empty where there is none) and the payload of a key or value."""
    if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
        return value["schema"] or {}, value["payload"]
    return {}, value


def key_of(spec: ObjectSpec, held: Any) -> str | None:
    """The key that a message's key or a row holds, as text; None where it holds none."""
    found = spec.named(held).get(spec.key) if isinstance(held, dict) else None
    return None if found is None else str(found)


def row_event(
    transport: DebeziumTransport, object_name: str, spec: ObjectSpec, key: Any, value: Mapping[str, Any]
) -> RowEvent:
    """Reads an envelope; whatever it lacks stays None."""
    schema, payload = unwrapped(value)
    after = picked(payload, "after")
    entity = next(
        (found for held in (unwrapped(key)[1], after, picked(payload, "before")) if (found := key_of(spec, held))), None
    )
    transaction = picked(payload, transport.transaction)
    if transaction is None:
        transaction = picked(payload, "transaction.id")
    return RowEvent(
        object=object_name,
        entity_id=entity,
        op=str(picked(payload, "op")),
        transaction=None if transaction is None else str(transaction),
        committed=_whole(picked(payload, transport.commit_time)),
        lsn=_whole(picked(payload, transport.lsn)),
        order=_whole(picked(payload, transport.order)) or 0,
        after=after if isinstance(after, dict) else None,
        names=_schema_names(schema),
    )


def raw_row(
    event: RowEvent,
    payload: str,
    *,
    transport: DebeziumTransport,
    spec: ObjectSpec,
    contract: Contract,
    committed: int | None,
    winner: str | None,
) -> dict[str, Any]:
    """The columns of RAW_CHANGE for one event.

    Args:
        event: The event.
        payload: Its line as delivered.
        transport: How the log writes values.
        spec: The event's object.
        contract: The types of its columns.
        committed: The end of its transaction, in µs since the epoch.
        winner: Who its row was merged into, by its transaction.
    """
    operation = OPERATIONS.get(event.op)
    if winner is not None and operation == "delete":
        operation = "merge"
    fields, changed, fault = _fields(event, transport, spec, contract)
    recorded = None if committed is None else _iso(committed, "epoch_us")
    edited = fields.get(spec.event_time) if spec.event_time else None
    by = spec.rename.get(transport.changed_by, transport.changed_by) if transport.changed_by else None
    return {
        "object": event.object,
        "entity_id": event.entity_id,
        "operation": operation,
        "event_time": edited or recorded,
        "processed_time": recorded,
        "source_position": event.position,
        "changed_fields": changed,
        "merged_into": winner if operation == "merge" else None,
        "fields": fields,
        "changed_by": fields.get(by) if by else None,
        "payload": payload,
        "error": _error(event, operation) or fault,
    }


def tombstone_row(object_name: str, entity_id: str | None, payload: str) -> dict[str, Any]:
    """The columns of RAW_CHANGE for a tombstone whose delete is nowhere in the log."""
    return {
        "object": object_name,
        "entity_id": entity_id,
        "operation": "delete",
        "payload": payload,
        "error": "orphan_tombstone: its delete event is not in the log, so nothing says when it happened",
    }


def _error(event: RowEvent, operation: str | None) -> str | None:
    if operation is None:
        return f"unknown_operation: {event.op}"
    if event.entity_id is None:
        return "no_key: neither key nor row names the entity"
    if event.position is None:
        return "no_position: the envelope has no lsn"
    if operation not in ("delete", "merge") and event.after is None:
        return "no_image: the envelope has no after"
    return None


def _fields(
    event: RowEvent, transport: DebeziumTransport, spec: ObjectSpec, contract: Contract
) -> tuple[dict[str, Any], list[str] | None, str | None]:
    """The row's fields under the contract's names, which were delivered (None: all), and what cannot be decoded."""
    if event.after is None:
        return {}, None, None
    fields: dict[str, Any] = {}
    absent, fault = False, None
    columns = spec.names_of(event.after)
    for name, value in event.after.items():
        if value in (transport.unavailable, [transport.unavailable]):
            absent = True
            continue
        column = columns[name]
        try:
            fields[column] = _decoded(value, event.names.get(name), contract.schema.get(column), transport)
        except (
            ValueError,
            TypeError,
            KeyError,
            OverflowError,
        ):  # whatever stands there, it is not of the type it claims
            fields[column], fault = None, f"undecodable: {column}"
    return fields, list(fields) if absent else None, fault


def _decoded(
    value: Any, named: Mapping[str, Any] | None, dtype: pl.DataType | None, transport: DebeziumTransport
) -> Any:
    """A value as landing reads it: dates and moments as ISO text, decimals as text, JSON as text."""
    if value is None:
        return None
    if named is not None and (by_name := _by_schema(named, transport)) is not None:
        return by_name(value)
    number = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(dtype, pl.Date) and number and transport.date == "epoch_days":
        return (EPOCH_DAY + timedelta(days=value)).isoformat()
    if isinstance(dtype, pl.Datetime) and number and transport.timestamp != "iso":
        return _iso(value, transport.timestamp)
    if isinstance(dtype, pl.String) and isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value


def _by_schema(named: Mapping[str, Any], transport: DebeziumTransport) -> Decoder | None:
    name = str(named.get("name"))
    if name in ("io.debezium.time.Date", "org.apache.kafka.connect.data.Date"):
        return lambda days: (EPOCH_DAY + timedelta(days=days)).isoformat()
    if name in LOCAL_TIMES:
        unit = LOCAL_TIMES[name]
        if transport.timestamp == "iso":
            return lambda count: _iso(count, unit).removesuffix("Z")
        return lambda count: _iso(count, unit)
    if name == "org.apache.kafka.connect.data.Decimal":
        scale = int(picked(named, "parameters.scale") or 0)
        return lambda coded: _decimal(coded, scale)
    if name == "io.debezium.data.VariableScaleDecimal":
        return lambda coded: _decimal(coded["value"], int(coded["scale"]))
    return None


def _decimal(coded: str, scale: int) -> str:
    unscaled = int.from_bytes(base64.b64decode(coded), "big", signed=True)
    return format(Decimal(unscaled).scaleb(-scale), "f")


def _iso(count: int, unit: str) -> str:
    moment = EPOCH + timedelta(microseconds=count * 1_000_000 // PER_SECOND[unit])
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _whole(given: Any) -> int | None:
    return int(given) if isinstance(given, int | str) and str(given).lstrip("-").isdigit() else None


def _schema_names(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Per column of a row, its field in the schema block."""
    parts = {part.get("field"): part for part in schema.get("fields", [])}
    row = parts.get("after") or parts.get("before") or {}
    return {field["field"]: field for field in row.get("fields", []) if field.get("name")}
