"""The bad behaviours a sandbox can be asked to show, by name, each with its parameters.

Those under `Faults.simulated` change what the simulator writes into the log, the rest only how the server answers. What
each of them does is done in `simulator`, `journal` and the server's modules; here they are named and explained.
"""

import json
from datetime import date
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm_platform.sandbox.vocabulary import COLUMNS, Column


class Fault(BaseModel):
    """One misbehaviour and its parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LateCommits(Fault):
    """Some transactions show up after the cursor has passed their commit time, while the watermark claims otherwise."""

    share: float = Field(0.02, ge=0, le=1, description="Share of the transactions that show up late.")
    lag_seconds: int = Field(900, gt=0, description="How long after their commit they show up.")


class TimestampTies(Fault):
    """A bulk job edits more rows at one timestamp than a page holds."""

    day: int = Field(10, ge=1, description="Day of the simulation on which the job runs, counted from 0.")
    rows: int = Field(450, gt=0, description="How many contacts it touches, at most all of them.")


class LaggingSearch(Fault):
    """Filtered reads come from an index that lags the store; reads by id do not."""

    seconds: int = Field(30, gt=0, description="How far the index lags, in simulated seconds.")


class ResultCap(Fault):
    """A filtered read ends silently after a number of rows."""

    cap: int = Field(10_000, gt=0, description="Rows after which paging ends.")


class NullLocator(Fault):
    """Exports do not tell how many parts they have; the first export of every object fails, and its parts answer 204."""

    failures: int = Field(1, ge=0, description="How many exports of each object fail before one succeeds.")


class GapEvents(Fault):
    """Some events arrive without their data, and edits of one kind in one transaction as one event of several ids."""

    share: float = Field(0.01, ge=0, le=1, description="Share of the events that are replaced by a gap event.")
    overflow_every: int = Field(
        0, ge=0, description="Every how many events an overflow event stands for one; 0: never."
    )


class MergeStyles(Fault):
    """Merges by a third id close the old contacts without a delete event: only merged_ids tells; old ids answer as it."""

    more: float = Field(3, ge=1, description="How many times as many merges there are, so that chains occur.")


class HiddenDeletes(Fault):
    """Hard deletes raise no event, and some activities are created and deleted in one window: only the delete shows."""

    share: float = Field(1.0, ge=0, le=1, description="Share of the hard deletes that no event tells of.")
    unseen_creates: int = Field(2, ge=0, description="Activities a day of which only the delete shows.")


class NegativeAmount(Fault):
    """Some edits of an opportunity's amount write a negative one."""

    day: int = Field(20, ge=0, description="Day of the simulation from which on, counted from 0.")
    share: float = Field(0.5, ge=0, le=1, description="Share of the amount edits that are negative.")


class RateLimited(Fault):
    """Every so many calls are answered 429, with Retry-After."""

    every: int = Field(10, gt=1, description="Which call is refused: every tenth, say.")
    retry_after: int = Field(1, ge=0, description="Seconds to wait.")
    style: Literal["seconds", "date"] = Field("seconds", description="How Retry-After says it.")


class Quota403(Fault):
    """The daily quota is small, and answers 403 when it is used up."""

    calls: int = Field(100, ge=0, description="Calls that are answered before the quota is used up.")


class ServerErrors(Fault):
    """Bursts of 5xx answers."""

    every: int = Field(20, gt=0, description="Calls between two bursts.")
    burst: int = Field(2, gt=0, description="Calls that fail in a burst.")
    status: Literal[500, 502, 503, 504] = Field(503, description="What they answer.")


class TruncatedBodies(Fault):
    """Some downloads of export parts break off in the middle of the announced length."""

    every: int = Field(
        2, gt=0, description="Which downloads of parts break off: the first, and every so many after it."
    )


class TokenExpiry(Fault):
    """Tokens stop working after a few calls, whatever they promised."""

    calls: int = Field(25, gt=0, description="Calls that one token is good for.")


class SchemaChange(Fault):
    """From a day on, an object's fields differ in reads, exports and events, and in the description."""

    object: str = Field("opportunity", description="The object that changes.")
    day: date | None = Field(None, description="From which day on; null: from the first.")
    rename: dict[str, str] = Field(default_factory=dict, description="Old name to new name.")
    add: dict[str, str] = Field(default_factory=dict, description="New field to its constant text.")
    remove: list[str] = Field(default_factory=list, description="Fields that are gone.")
    retype: list[str] = Field(default_factory=list, description="Fields that have become text.")
    between_pages: bool = Field(default=False, description="Whether the first page or part still has the old shape.")

    @model_validator(mode="after")
    def names_fields(self) -> Self:
        """Refuses names that are not the object's."""
        for name in (*self.rename, *self.remove, *self.retype):
            _field(self.object, name)
        return self


class NaiveTimestamps(Fault):
    """From a day on, a time field of an object comes without a zone."""

    object: str = Field("activity", description="The object.")
    field: str = Field("occurred_at", description="The field.")
    day: date | None = Field(None, description="From which day on; null: from the first.")

    @model_validator(mode="after")
    def names_a_moment(self) -> Self:
        """Refuses a field that is no moment of the object."""
        if _field(self.object, self.field).kind != "time":
            message = f"{self.object}.{self.field} holds no moments. Name one that does, such as created_at."
            raise ValueError(message)
        return self


class Faults(BaseModel):
    """Which misbehaviours are switched on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    late_commits: LateCommits | None = None
    timestamp_ties: TimestampTies | None = None
    lagging_search: LaggingSearch | None = None
    result_cap: ResultCap | None = None
    null_locator: NullLocator | None = None
    gap_events: GapEvents | None = None
    merge_styles: MergeStyles | None = None
    hidden_deletes: HiddenDeletes | None = None
    negative_amount: NegativeAmount | None = None
    rate_limited: RateLimited | None = None
    quota_403: Quota403 | None = None
    server_errors: ServerErrors | None = None
    truncated_bodies: TruncatedBodies | None = None
    token_expiry: TokenExpiry | None = None
    schema_change: SchemaChange | None = None
    naive_timestamps: NaiveTimestamps | None = None

    @property
    def simulated(self) -> dict[str, Any]:
        """The parameters of those that change the log itself."""
        return self.model_dump(
            mode="json",
            include={"late_commits", "timestamp_ties", "merge_styles", "hidden_deletes", "negative_amount"},
        )


def _field(of: str, name: str) -> Column:
    if name not in COLUMNS.get(of, {}):
        message = f"The sandbox has no field {of}.{name}. See crm_platform.contracts.sandbox."
        raise ValueError(message)
    return COLUMNS[of][name]


def parameters_of(name: str) -> dict[str, str]:
    """The parameters of a fault and what they mean."""
    held = Faults.model_fields[name].annotation
    fault = next(part for part in get_args(held) if part is not type(None))
    return {parameter: str(field.description) for parameter, field in fault.model_fields.items()}


def meanings() -> dict[str, str]:
    """What each fault does, by name."""
    held = {name: get_args(field.annotation)[0] for name, field in Faults.model_fields.items()}
    return {name: str(fault.__doc__) for name, fault in held.items()}


def switched_on(faults: Any) -> Any:
    """Reads the short forms: a name, several names, names with parameters; `name={"parameter": value}` as text."""
    if isinstance(faults, str):
        faults = [faults]
    if isinstance(faults, list | tuple):
        return dict(_named(str(told)) for told in faults)
    if isinstance(faults, dict):
        return {name: {} if parameters is True else parameters for name, parameters in faults.items()}
    return faults


def _named(told: str) -> tuple[str, Any]:
    name, _, parameters = told.partition("=")
    try:
        return name, json.loads(parameters or "{}")
    except ValueError:
        message = f'the parameters of {name} are no JSON. Write them such as {name}={{"share": 0.5}}'
        raise ValueError(message) from None
