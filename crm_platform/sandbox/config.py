"""What a sandbox is asked to be: size, days, clock, limits, faults.

How it is simulated stands in `simulator`, how it is served in `server`.
"""

import hashlib
import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from crm_platform.sandbox.errors import SandboxError
from crm_platform.sandbox.faults import Faults, parameters_of, switched_on

FORMAT = 3
"""Raised when the simulator changes what it writes, so that older logs are not taken for new ones."""


class SandboxConfig(BaseModel):
    """A sandbox CRM: equal values give equal histories."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(7, ge=0, description="What the simulation is drawn from.")
    accounts: int = Field(200, ge=1, description="Companies by the end of `days`; everything else scales with them.")
    first_day: date = Field(date(2026, 3, 1), description="The first simulated day (UTC).")
    days: int = Field(60, ge=1, description="How many days lie before the default head.")
    head: AwareDatetime | None = Field(
        None, description="What the sandbox's clock shows at the start; by default the end of `days`."
    )
    extra_days: int = Field(60, ge=0, description="Days simulated beyond `days`, for a clock that moves on.")
    speed: float = Field(0, ge=0, description="Simulated seconds per real second; 0: the clock stands.")
    folder: Path = Field(Path("data/sandbox"), description="Where generated logs are kept and found again.")
    faults: Annotated[Faults, BeforeValidator(switched_on)] = Field(
        Faults(), description="Misbehaviours, by name or with their parameters."
    )
    retention_days: int | None = Field(365, ge=1, description="How long the change feed is kept; null: for ever.")
    rate_limit: int = Field(6000, ge=1, description="Calls a client may make in a minute.")
    daily_quota: int = Field(1_000_000, ge=1, description="Calls a client may make in a day.")
    token_seconds: int = Field(3600, ge=1, description="How long a token lives.")
    export_part_rows: int = Field(5000, ge=1, description="Rows in one part of an export.")
    client_id: str = Field("sandbox", description="The client that may sign in.")
    client_secret: str = Field("sandbox-secret", description="Its secret; the sandbox holds nothing to protect.")

    @property
    def starts_at(self) -> datetime:
        """The first simulated moment."""
        return datetime.combine(self.first_day, time(), UTC)

    @property
    def opening_head(self) -> datetime:
        """What the clock shows at the start."""
        return self.head.astimezone(UTC) if self.head else self.starts_at + timedelta(days=self.days)

    @property
    def ends_at(self) -> datetime:
        """The moment at which the simulation ends."""
        return self.starts_at + timedelta(days=self.days + self.extra_days)

    @property
    def fingerprint(self) -> str:
        """What names the log: a hash of everything that changes its content."""
        told: dict[str, Any] = self.model_dump(
            mode="json", include={"seed", "accounts", "first_day", "days", "extra_days"}
        )
        told |= {"format": FORMAT, "faults": self.faults.simulated}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def configured(told: dict[str, Any]) -> SandboxConfig:
    """The configuration that somebody asks for.

    Raises:
        SandboxError: There can be no such sandbox; names the setting and what it may be.
    """
    try:
        return SandboxConfig.model_validate(told)
    except ValidationError as broken:
        first = broken.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    why = first["msg"].removeprefix("Value error, ")
    remedy = "Give another value."
    if first["type"] == "extra_forbidden":
        parts = first["loc"][1:]
        known = Faults.model_fields if len(parts) == 1 else parameters_of(str(parts[0]))
        why, remedy = "there is no such thing", f"Name one of: {', '.join(known)}."
    raise SandboxError.misconfigured(place, why[0].lower() + why[1:].rstrip("."), remedy)
