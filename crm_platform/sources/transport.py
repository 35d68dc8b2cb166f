"""How a CRM is reached, as a manifest declares it: requests, pages, export jobs, the change feed, errors, logs.

Declarations only. What is done with them stands in `client`, `rest`, `exports`, `feed` and `debezium`.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)(us|ms|s|m|h|d)")


def _duration(given: Any) -> Any:
    if isinstance(given, str) and (parts := _DURATION.fullmatch(given)):
        return timedelta(seconds=int(parts[1]) * _UNITS[parts[2]])
    if isinstance(given, timedelta):
        return given
    msg = "a duration is a whole number and a unit (us, ms, s, m, h, d), such as 30d or 5m"
    raise ValueError(msg)


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda length: f"{round(length / timedelta(microseconds=1))}us", return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["30d", "5m", "500ms"]}),
]
"""A length of time, written as a number and a unit."""

JsonPath = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", description="Names from the top, joined by dots.")]
Action = Literal["retry", "refresh_auth", "unauthorized", "quota", "permanent", "gap", "truncated"]
Format = Literal["parquet", "csv", "jsonl"]
Operation = Literal["create", "update", "delete", "undelete", "merge", "snapshot", "reread", "overflow"]


class Spec(BaseModel):
    """The base of every part of a manifest: no unknown keys, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Auth(Spec):
    """How requests prove who asks."""

    kind: Literal["oauth2_client_credentials", "bearer", "none"] = "none"
    token_path: str | None = Field(default=None, description="Where tokens are fetched.")
    variables: dict[str, str] = Field(
        default_factory=dict, description="Credential name to the environment variable that holds it."
    )
    early: Duration = Field(default=timedelta(seconds=30), description="How long before its end a token is renewed.")


class Rate(Spec):
    """How fast we may ask, and where the CRM says so."""

    requests_per_second: float = Field(default=20.0, gt=0)
    burst: int = Field(default=20, ge=1)
    remaining_header: str | None = None
    reset_header: str | None = None
    reset: Literal["epoch_seconds", "seconds"] = "epoch_seconds"


class Retry(Spec):
    """How patient we are."""

    attempts: int = Field(default=6, ge=1, description="Tries in all, the first included.")
    wait_initial: Duration = timedelta(milliseconds=200)
    wait_max: Duration = timedelta(seconds=20)
    retry_after_max: Duration = Field(
        default=timedelta(minutes=2), description="The longest Retry-After that is waited for."
    )
    total: Duration = Field(default=timedelta(minutes=5), description="The longest time spent on one request.")


class ErrorRule(Spec):
    """What an answer's status (and body) means."""

    status: list[int]
    body: dict[JsonPath, str] = Field(default_factory=dict, description="JSON path to the value it must have.")
    action: Action


class Cursor(Spec):
    """By which column rows are read incrementally."""

    column: str
    granularity: Duration = timedelta(microseconds=1)
    look_back: Duration = Field(default=timedelta(0), description="How far behind the cursor a reader starts again.")


class Reads(Spec):
    """Paged reads of an object's rows, ordered by the cursor column and the key."""

    path: str = Field(description="With {object} for the table's name.")
    rows: JsonPath = "records"
    next: JsonPath = "next"
    after_param: str = "after"
    limit_param: str = "limit"
    limit: int = Field(default=200, ge=1)
    since_param: str | None = Field(default=None, description="Reads rows whose cursor column is at least this.")
    ids_param: str | None = Field(default=None, description="Reads rows by key, comma-separated.")
    deleted_param: str | None = Field(default=None, description="Set to true, deleted rows are served too.")
    result_cap: int | None = Field(default=None, ge=1, description="After so many rows paging ends without a word.")
    cursor: Cursor


class Exports(Spec):
    """Bulk exports: a job is made, polled and downloaded."""

    create_path: str
    create_body: dict[str, str] = Field(description="Texts with {object}, {format}; a value {as_of} alone may be null.")
    poll_path: str = Field(description="With {id}.")
    download_path: str = Field(description="With {id} and {part}.")
    id: JsonPath = "id"
    status: JsonPath = "status"
    done: list[str]
    failed: list[str]
    started_at: JsonPath = "started_at"
    finished_at: JsonPath = "finished_at"
    rows: JsonPath | None = "rows"
    formats: list[Format] = Field(min_length=1, description="The first is the one asked for.")
    dated: bool = Field(description="Whether an export can show a past moment.")
    first_part: str = "1"
    next_part_header: str | None = Field(default=None, description="Names the next part.")
    last_part: str = Field(default="null", description="The header's value at the end.")
    poll_interval: Duration = timedelta(seconds=2)
    poll_total: Duration = timedelta(minutes=30)


class EventMap(Spec):
    """Where one event of the feed says what."""

    offset: JsonPath
    object: JsonPath
    ids: JsonPath = Field(description="One id or a list of ids.")
    many: JsonPath | None = Field(default=None, description="A list of ids, where the former is null.")
    operation: JsonPath
    operations: dict[str, Operation] = Field(
        description="The CRM's word to ours; reread fetches the records by id, overflow is a gap."
    )
    event_time: JsonPath | None = None
    commit_time: JsonPath | None = None
    transaction: JsonPath | None = None
    changed_fields: JsonPath | None = None
    merged_into: JsonPath | None = None
    changed_by: JsonPath | None = None
    change_origin: JsonPath | None = None
    fields: JsonPath


class FeedHead(Spec):
    """Where the feed says how far it reaches."""

    path: str
    offset: JsonPath = "offset"
    time: JsonPath = "time"
    earliest: JsonPath | None = None


class Changes(Spec):
    """An ordered change feed."""

    path: str
    after_param: str = "after"
    limit_param: str = "limit"
    limit: int = Field(default=1000, ge=1)
    start: str = Field(default="0", description="The offset before the very first event.")
    offset_width: int = Field(
        default=20, ge=1, description="Offsets are padded with zeros to this width, to sort bytewise."
    )
    events: JsonPath = "events"
    next_offset: JsonPath = "next_offset"
    head_offset: JsonPath = "head_offset"
    watermark: JsonPath = "watermark"
    earliest: JsonPath = Field(default="earliest_offset", description="In a gap's answer: the first offset still held.")
    head: FeedHead
    event: EventMap


class HttpTransport(Spec):
    """A CRM behind HTTP."""

    kind: Literal["http"]
    base_url: str | None = Field(default=None, description="Where the CRM is, if nothing else is said.")
    timeout: Duration = timedelta(seconds=60)
    connect_timeout: Duration = timedelta(seconds=5)
    correlation_header: str = "X-Request-Id"
    auth: Auth = Auth()
    rate: Rate = Rate()
    retry: Retry = Retry()
    errors: list[ErrorRule] = Field(default_factory=list, description="The first that fits decides.")
    reads: Reads | None = None
    exports: Exports | None = None
    changes: Changes | None = None


class DebeziumTransport(Spec):
    """A recorded Debezium log, in commit order."""

    kind: Literal["debezium_log"]
    topic: str = Field(description="With {table} for the table's name.")
    markers: str | None = Field(
        default=None, description="The topic that tells how many events each transaction has, if it is recorded."
    )
    number: JsonPath | None = Field(
        default=None,
        description="What counts the lines up by one from 1, if the recorder writes it: shows what it lost.",
    )
    unavailable: str = Field(
        default="__debezium_unavailable_value", description="Stands for a value that was not logged."
    )
    commit_time: JsonPath = Field(
        default="source.ts_us", description="Microseconds since the epoch, inside the envelope."
    )
    lsn: JsonPath = "source.lsn"
    transaction: JsonPath = "source.txId"
    order: JsonPath = "transaction.total_order"
    changed_by: str | None = Field(default=None, description="The column that names who changed a row.")
    date: Literal["epoch_days", "iso"] = "epoch_days"
    timestamp: Literal["iso", "epoch_ms", "epoch_us", "epoch_ns"] = Field(
        default="iso", description="How a moment with a zone is written where no schema block says so."
    )


Transport = Annotated[HttpTransport | DebeziumTransport, Field(discriminator="kind")]


def picked(held: Mapping[str, Any] | None, path: str | None) -> Any:
    """What stands at a JSON path; None where it or the path is missing."""
    if path is None:
        return None
    at: Any = held
    for name in _steps(path):
        if not isinstance(at, dict):
            return None
        at = at.get(name)
    return at


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))
