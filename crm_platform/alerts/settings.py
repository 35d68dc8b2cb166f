"""What `crm_platform.yaml` says of alerts: whom to tell and how, and when something counts as stuck or late.

Secrets never stand here: a target names the environment variables that hold them.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crm_platform.alerts.problems import Frozen


class Webhook(Frozen):
    """A URL that takes a POST: the whole message as JSON (webhook), or its words as a Slack `text` (slack)."""

    kind: Literal["webhook", "slack"]
    name: str = Field(description="What the target is called in logs and in `crm-platform alerts list`.")
    url_env: str = Field(description="The environment variable that holds the URL.")


class Email(Frozen):
    """An SMTP server that takes a mail."""

    kind: Literal["email"]
    name: str = Field(description="What the target is called in logs and in `crm-platform alerts list`.")
    host: str
    port: int = Field(587, ge=1, le=65535)
    starttls: bool = Field(True, description="Whether to encrypt; the certificate is verified.")
    sender: str
    recipients: tuple[str, ...] = Field(min_length=1)
    username_env: str | None = Field(None, description="The environment variable that holds the user's name.")
    password_env: str | None = Field(None, description="The environment variable that holds the password.")

    @model_validator(mode="after")
    def _whole(self) -> "Email":
        if (self.username_env is None) != (self.password_env is None):
            message = "username_env and password_env go together"
            raise ValueError(message)
        if self.username_env is not None and not self.starttls:
            message = "a password is only sent over starttls"
            raise ValueError(message)
        return self


Target = Annotated[Webhook | Email, Field(discriminator="kind")]


class AlertSettings(Frozen):
    """Whom to tell, and when something counts as stuck or late."""

    targets: tuple[Target, ...] = ()
    stuck_after_minutes: int = Field(120, ge=1, description="A run that has not ended by then is stuck.")
    late_after_hours: int = Field(6, ge=0, description="A day that is not built this long after its end is late.")

    @model_validator(mode="after")
    def _named_once(self) -> "AlertSettings":
        names = [target.name for target in self.targets]
        if len(set(names)) < len(names) or "log" in names:
            message = "targets need names of their own, and log is taken"
            raise ValueError(message)
        return self
