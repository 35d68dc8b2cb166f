"""What `crm_platform.yaml` says: which CRM, where its lake lies, which days it covers, how to reach it.

Reading the file is all that happens here: no network, no environment. Secrets never stand in it: the manifest names the
variables that hold them, and a run looks them up when it connects.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crm_platform.alerts import AlertSettings
from crm_platform.contracts import PermanentError
from crm_platform.quality.predictors import PredictorLimits

FILE_NAME = "crm_platform.yaml"

Owner = Annotated[str, Field(pattern=r"^(team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]
"""A team or a mail address, as Dagster has it."""


class SettingsError(PermanentError):
    """crm_platform.yaml cannot be used as it stands."""

    @classmethod
    def missing(cls, path: Path) -> "SettingsError":
        """Says that the named file is not there."""
        return cls(f"There is no {path}. Copy crm_platform.yaml of the repository there, or name another file.")

    @classmethod
    def unreadable(cls, path: Path, why: str) -> "SettingsError":
        """Says what in the file is wrong."""
        return cls(f"{path} cannot be used: {why}. Mend the named entry; docs/concepts.md shows a whole file.")

    @classmethod
    def no_sandbox(cls, source: str) -> "SettingsError":
        """Says that the settings are not those of a sandbox."""
        return cls(
            f"The demo and `make dev` run the sandbox CRM over fixed days; {FILE_NAME} names {source!r}, or no last_day. "
            "Set source: sandbox and a last_day, or start `dagster dev -m crm_platform.definitions` yourself."
        )

    @classmethod
    def no_instance(cls, home: Path) -> "SettingsError":
        """Says that the configured Dagster instance has no settings."""
        return cls(
            f"{FILE_NAME} names {home} as dagster_home, and there is no dagster.yaml in it. Copy deploy/dagster.yaml there "
            "for Postgres, or leave dagster_home out to keep the instance below data/dagster."
        )

    @classmethod
    def no_check(cls, table: str, check: str | None, known: list[str]) -> "SettingsError":
        """Says which checks a table has."""
        named = "no check" if check is None else f"no check {check}"
        there = f"it has {', '.join(known)}" if known else "nor any other; `crm-platform summary` lists the tables"
        return cls(f"{table} has {named}: {there}.")

    @classmethod
    def not_landed(cls, table: str, known: list[str]) -> "SettingsError":
        """Says which tables hold what landed."""
        return cls(f"{table} holds nothing that landed: what is derived is rebuilt. Name one of {', '.join(known)}.")

    @classmethod
    def no_log(cls, source: str) -> "SettingsError":
        """Says that a source reads a recorded log and none is named."""
        return cls(f"{source} is read from a recorded log, and {FILE_NAME} names none. Set connection: {{log: FILE}}.")


class Connection(BaseModel):
    """How to reach the CRM, where the manifest alone does not say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    base_url: str | None = Field(None, description="Where the CRM's API is served; none for the manifest's own.")
    log: Path | None = Field(None, description="The recorded change log (.jsonl or .jsonl.gz) of a log source.")


class CodeHost(BaseModel):
    """Where people read this code."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str = Field(pattern="^https?://", description="The repository's page.")
    branch: str = "main"
    platform: Literal["github", "gitlab"] = Field("github", description="Whose way it has of naming a file's line.")


class Settings(BaseModel):
    """One code location: a source, its lake and its days."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = Field("sandbox", description="A shipped manifest's name, or a path to one.")
    lake: str = Field("data/lake", description="A folder, or an object-store URL.")
    first_day: dt.date
    last_day: dt.date | None = None
    connection: Connection = Connection(base_url=None, log=None)
    late_days: int = Field(7, ge=1, description="How many of the last days the nightly rebuild of late data looks at.")
    runbook: str = Field(
        "docs/runbook.md", description="Where failed checks link to: a URL, or a path for people to find."
    )
    training_gate: PredictorLimits = Field(
        default_factory=lambda: PredictorLimits.model_validate({}),
        description="From when on a single feature of a training set is too good to be true.",
    )
    owners: tuple[Owner, ...] = Field(("team:data-platform",), min_length=1, description="Who answers for the tables.")
    code: CodeHost | None = Field(None, description="Where the UI links to; none for the files of this machine.")
    alerts: AlertSettings = AlertSettings.model_validate({})
    dagster_home: Path | None = Field(
        None, description="A folder with a dagster.yaml of one's own; none for data/dagster with the laptop's settings."
    )
    folder: Path = Field(Path(), exclude=True, description="Where the file lies; relative paths start here.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last_day is not None and self.last_day < self.first_day:
            message = f"last_day {self.last_day} lies before first_day {self.first_day}"
            raise ValueError(message)
        return self

    @property
    def lake_root(self) -> str:
        """The lake's root, absolute where it is a folder."""
        return self.lake if "://" in self.lake else str((self.folder / self.lake).resolve())

    @property
    def log_file(self) -> Path | None:
        """The recorded log, absolute, where the source is one."""
        return None if self.connection.log is None else (self.folder / self.connection.log).resolve()


def load_settings(path: Path | None = None) -> Settings:
    """Reads crm_platform.yaml: the file named, or else that of the working folder, or else the repository's.

    Raises:
        SettingsError: The file is missing, is no YAML, or an entry is wrong.
    """
    here = Path.cwd() / FILE_NAME
    chosen = path or (here if here.exists() else Path(__file__).parents[2] / FILE_NAME)
    if not chosen.exists():
        raise SettingsError.missing(chosen)
    try:
        told = yaml.safe_load(chosen.read_text(encoding="utf-8"))
        if not isinstance(told, dict):
            raise SettingsError.unreadable(chosen, "it is no mapping of names to values")
        return Settings.model_validate({**told, "folder": chosen.parent.resolve()})
    except yaml.YAMLError as broken:
        raise SettingsError.unreadable(chosen, f"it is no YAML ({type(broken).__name__})") from broken
    except ValidationError as broken:
        entries = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in broken.errors())
        raise SettingsError.unreadable(chosen, entries) from broken
