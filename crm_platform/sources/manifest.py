"""What a CRM is, as its manifest declares it: objects, times, deletes, merges, clock, roles, training.

Declarations and questions about them. How the CRM is reached stands in `transport`, how a file is loaded in `loading`.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Literal, TypeVar

from pydantic import Field

from crm_platform.sources.errors import UnknownObjectError
from crm_platform.sources.transport import DebeziumTransport, Duration, HttpTransport, Spec, Transport

Kind = Literal["account", "contact", "lead", "opportunity", "activity", "owner", "other"]
CanonicalObject = Literal["account", "contact", "lead", "opportunity", "activity"]
Knowledge = Literal["source", "ingest", "reconstructed"]
Clock = Literal["system", "head"]
T = TypeVar("T")

ROLES: dict[str, frozenset[str]] = {
    "account": frozenset(
        {"name", "industry", "tier", "country", "employees", "revenue", "currency", "owner_id", "created_at"}
    ),
    "contact": frozenset({"account_id", "title", "country", "owner_id", "created_at"}),
    "lead": frozenset(
        {
            "status", "source", "rating", "amount", "currency", "country", "owner_id", "account_id", "contact_id",
            "opportunity_id", "employees", "converted_at", "created_at",
        }
    ),
    "opportunity": frozenset(
        {"stage", "amount", "currency", "owner_id", "account_id", "lead_id", "probability", "source", "close_date", "created_at"}
    ),
    "activity": frozenset(
        {
            "kind", "channel", "status", "priority", "outcome", "occurred_at", "duration_minutes", "amount", "currency",
            "account_id", "contact_id", "lead_id", "opportunity_id", "owner_id", "created_at",
        }
    ),
}  # fmt: skip
"""The parts that a column can play, per canonical object."""


class Deletes(Spec):
    """How a delete shows."""

    announced: bool = Field(description="Whether deletes come as events.")
    silent: bool = Field(description="Whether some rows vanish without an event, so that only a snapshot tells.")
    flag: str | None = Field(
        default=None, description="The column that marks a row as deleted while it is still served."
    )
    undeletes: bool = Field(description="Whether a deleted row may come back.")


class Merges(Spec):
    """How a merge shows.

    pointer: the loser's own event or row names the winner (`column`, where rows read with the deleted ones carry it).
    listed: a third row lists the old ids in `column`.
    transaction_pair: a delete and an update of the same table in one transaction.
    """

    style: Literal["pointer", "listed", "transaction_pair", "none"] = "none"
    column: str | None = None


class ObjectSpec(Spec):
    """One object of the CRM."""

    table: str = Field(description="The CRM's own name of it: a path segment or a table.")
    kind: Kind
    key: str
    event_time: str | None = Field(
        default=None, description="The column with the time of the edit; null: the recording time."
    )
    processed_time: str | None = Field(
        None, description="The column that proves when the CRM recorded the row, if any."
    )
    rename: dict[str, str] = Field(
        default_factory=dict,
        description="The CRM's column name to the contract's, wherever the object is delivered: feed, reads, exports, logs.",
    )
    merges: Merges = Merges()

    def names_of(self, delivered: Iterable[str]) -> dict[str, str]:
        """What each delivered column is called here.

        A renamed column takes its name from one that is delivered under it: that one is told apart, and so is unknown
        to the contract.
        """
        names = list(delivered)
        taken = {self.rename[name] for name in names if name in self.rename}
        return {name: self.rename.get(name, f"{name} (delivered)" if name in taken else name) for name in names}

    def named(self, delivered: Mapping[str, T]) -> dict[str, T]:
        """Delivered values under the names of `names_of`."""
        names = self.names_of(delivered) if self.rename else {}
        return {names.get(name, name): value for name, value in delivered.items()}


class InferredDeleteLimit(Spec):
    """How many rows may be missing from a snapshot before nothing is inferred from it."""

    rows: int = Field(ge=0)
    share: float = Field(ge=0, le=1, description="Of the living rows.")

    def allows(self, missing: int, living: int) -> bool:
        """Whether so many missing among so many living rows may be taken for deletes: the larger limit counts."""
        return missing <= max(self.rows, self.share * living)


class Role(Spec):
    """Which object of the CRM is a canonical object, and which of its columns plays which part."""

    object: str
    columns: dict[str, str] = Field(description="The part to the column.")
    currencies: list[str] = Field(default_factory=list, description="Currencies whose sums become features.")


class TrainingSpec(Spec):
    """What is to be predicted: that a column of an entity takes a value within a horizon."""

    object: CanonicalObject
    column: str
    value: str
    closed: list[str] = Field(
        default_factory=list, description="Other values at which nobody asks any more: such entities are no rows."
    )
    horizon: Duration = timedelta(days=30)
    grid: Duration = Field(default=timedelta(days=7), description="The step between the moments asked about.")
    grace: Duration | None = Field(
        default=None, description="How long labels may come in late; null: measured or settled."
    )


class Manifest(Spec):
    """Everything the platform must know about one CRM."""

    version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    contracts: str = Field(description="The module that declares its contracts.")
    knowledge: Knowledge = Field(description="What proves when a change was recorded.")
    clock: Clock = Field(description="Whose time is now: the system's, or the head of the feed.")
    settling_lag: Duration = Field(description="How long a committed change may stay unseen.")
    retention: Duration | None = Field(default=None, description="How long the feed keeps changes; null: for ever.")
    sweep_interval: Duration | None = Field(
        default=None, description="How often a full read must check what no event tells."
    )
    inferred_delete_limit: InferredDeleteLimit
    deletes: Deletes
    transport: Transport
    objects: dict[str, ObjectSpec] = Field(min_length=1)
    roles: dict[CanonicalObject, Role] = Field(default_factory=dict)
    training: dict[str, TrainingSpec] = Field(default_factory=dict)

    @property
    def http(self) -> HttpTransport | None:
        """The HTTP transport, if the CRM is reached by HTTP."""
        return self.transport if isinstance(self.transport, HttpTransport) else None

    @property
    def debezium(self) -> DebeziumTransport | None:
        """The log transport, if the CRM is read from a recorded log."""
        return self.transport if isinstance(self.transport, DebeziumTransport) else None

    @property
    def has_snapshots(self) -> bool:
        """Whether the CRM offers bulk exports."""
        return self.http is not None and self.http.exports is not None

    @property
    def has_dated_exports(self) -> bool:
        """Whether an export can show a past moment."""
        return self.http is not None and self.http.exports is not None and self.http.exports.dated

    @property
    def channel(self) -> str:
        """The channel by which this source's changes arrive."""
        return "log" if self.debezium else "feed"

    def spec(self, object_name: str) -> ObjectSpec:
        """The declaration of an object.

        Raises:
            UnknownObjectError: The manifest has no such object.
        """
        if object_name not in self.objects:
            raise UnknownObjectError.named(self.name, object_name, list(self.objects))
        return self.objects[object_name]

    def object_of(self, canonical: str) -> str | None:
        """The CRM's object that is a canonical one; None where the CRM has none."""
        return next((role.object for name, role in self.roles.items() if name == canonical), None)

    def column_of(self, canonical: str, part: str) -> str | None:
        """The column that plays a part; None where the CRM has none."""
        return next((role.columns.get(part) for name, role in self.roles.items() if name == canonical), None)

    def references_of(self, object_name: str) -> frozenset[str]:
        """The columns of an object that hold ids of others: the parts whose names end in `_id`."""
        return frozenset(
            column
            for role in self.roles.values()
            if role.object == object_name
            for part, column in role.columns.items()
            if part.endswith("_id")
        )

    def currencies_of(self, canonical: str) -> list[str]:
        """The currencies whose sums become features of a canonical object."""
        return next((list(role.currencies) for name, role in self.roles.items() if name == canonical), [])
