"""The bodies of the sandbox's HTTP API, as its OpenAPI document tells them.

What answers with them stands in `server`.
"""

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Refused(BaseModel):
    """Why a call was not answered."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(description="A word for programs.")
    detail: str = Field("", description="A sentence for people.")


class Expired(Refused):
    """The feed no longer holds what was asked for."""

    earliest_offset: int = Field(description="The oldest offset that is still there.")


class Token(BaseModel):
    """What a client signs its calls with."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  the name of the scheme
    expires_in: int = Field(description="Seconds.")


class Health(BaseModel):
    """Whether the server is there."""

    status: Literal["ok"] = "ok"


class FieldTold(BaseModel):
    """One field of an object."""

    name: str
    type: str
    nullable: bool


class ObjectTold(BaseModel):
    """One object and its fields."""

    name: str
    fields: list[FieldTold]


class Objects(BaseModel):
    """Everything that can be read."""

    objects: list[ObjectTold]


class Records(BaseModel):
    """One page of a read."""

    records: list[dict[str, Any]] = Field(
        description="Fields by name; with include_deleted also is_deleted and merged_into."
    )
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class ExportWanted(BaseModel):
    """What to export."""

    model_config = ConfigDict(extra="forbid")

    object: str
    format: Literal["parquet", "csv", "jsonl"] = "parquet"
    as_of: AwareDatetime | None = Field(None, description="What was known at this moment; null: what stands now.")


class ExportCreated(BaseModel):
    """An export that has been asked for."""

    id: str
    status: Literal["queued", "running", "completed", "failed"]


class Export(ExportCreated):
    """How far an export is."""

    object: str
    format: Literal["parquet", "csv", "jsonl"]
    started_at: str | None = Field(description="Simulated moment at which reading began.")
    finished_at: str | None = Field(description="Simulated moment at which everything had been read.")
    rows: int | None
    parts: int | None = Field(description="How many parts there are; null where that is not told: follow X-Next-Part.")
    error: str | None


class Transaction(BaseModel):
    """The transaction that an event belongs to."""

    id: int
    order: int


class Event(BaseModel):
    """One change of one entity; `ids` where one event stands for several, or carries no data."""

    offset: int
    object: str
    id: str | None
    ids: list[str] | None = Field(description="Entities of an event that names several, or of a gap.")
    operation: Literal["create", "update", "delete", "undelete", "merge", "gap", "overflow"] = Field(
        description="gap: read the ids again; overflow: read the object again."
    )
    event_time: str = Field(description="When it was edited, as claimed.")
    commit_time: str = Field(description="When the CRM recorded it; one per transaction.")
    transaction: Transaction
    changed_fields: list[str] | None = Field(description="The fields that an update writes; null for a full image.")
    merged_into: str | None = Field(description="The winner, on a merge's loser.")
    changed_by: str | None
    origin: str
    fields: dict[str, Any] = Field(description="A create or undelete holds all fields, an update the changed ones.")


class Changes(BaseModel):
    """One page of the change feed."""

    events: list[Event]
    next_offset: int = Field(description="What to pass as `after` next.")
    head_offset: int
    watermark: str = Field(description="Everything committed up to here has been served once next_offset is reached.")


class Head(BaseModel):
    """How far the change feed reaches."""

    offset: int = Field(description="The last offset there is; 0 for none.")
    time: str = Field(description="What the CRM's clock shows.")
    earliest_offset: int


class ClockTold(BaseModel):
    """What the sandbox's clock shows, or is to show."""

    head: AwareDatetime
