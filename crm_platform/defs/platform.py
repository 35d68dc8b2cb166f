"""The configured CRM and its lake, as the Dagster resource that every asset, check and sensor asks.

What stands here opens things when a run needs them; loading the definitions opens nothing.
"""

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from crm_platform import sources
from crm_platform.contracts import Contract, contracts_in
from crm_platform.defs.settings import Settings, SettingsError
from crm_platform.lake import Lake
from crm_platform.quality.predictors import PredictorLimits
from crm_platform.sources import Manifest, Source, credentials_from, load_manifest, recorded_log

CODE_VERSION = version("crm-platform")
RUNBOOK = "docs/runbook.md"


@cache
def manifest_of(source: str) -> Manifest:
    """The manifest that a source's name or path stands for, read once."""
    return load_manifest(source)


class Platform(dg.ConfigurableResource):
    """One CRM and its lake."""

    source: str
    lake_root: str
    first_day: str
    last_day: str | None = None
    base_url: str | None = None
    log: str | None = None
    runbook: str = RUNBOOK
    late_days: int = 7
    training_gate: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Platform":
        """The resource that crm_platform.yaml describes."""
        log = settings.log_file
        return cls(
            source=settings.source,
            lake_root=settings.lake_root,
            first_day=settings.first_day.isoformat(),
            last_day=None if settings.last_day is None else settings.last_day.isoformat(),
            base_url=settings.connection.base_url,
            log=None if log is None else str(log),
            runbook=settings.runbook,
            late_days=settings.late_days,
            training_gate=settings.training_gate.model_dump(),
        )

    @property
    def manifest(self) -> Manifest:
        """What the CRM is."""
        return manifest_of(self.source)

    @property
    def contracts(self) -> dict[str, Contract]:
        """What its objects look like."""
        return contracts_in(self.manifest.contracts)

    @property
    def limits(self) -> PredictorLimits:
        """From when on a feature of a training set is too good to be true."""
        return PredictorLimits.model_validate(self.training_gate)

    @property
    def first(self) -> dt.date:
        """The first day the lake covers."""
        return dt.date.fromisoformat(self.first_day)

    @property
    def last(self) -> dt.date | None:
        """The last day the lake covers; None where it follows the calendar."""
        return None if self.last_day is None else dt.date.fromisoformat(self.last_day)

    def days_until(self, moment: dt.datetime | None) -> list[dt.date]:
        """The days from the first to that of a moment, or to the last; none before anything is known."""
        if moment is None:
            return []
        end = moment.date() if self.last is None else min(moment.date(), self.last)
        return [self.first + dt.timedelta(days=n) for n in range((end - self.first).days + 1)]

    def lake(self, run_id: str | None = None) -> Lake:
        """The lake, whose commits name the run and the code that made them."""
        told = {"code_version": CODE_VERSION} | ({} if run_id is None else {"run_id": run_id})
        return Lake(self.lake_root, metadata=told)

    @contextmanager
    def connected(self) -> Iterator[Source]:
        """The CRM, reached as the manifest says; closed afterwards.

        Raises:
            SettingsError: The manifest reads a recorded log and none is named.
        """
        if self.manifest.http is not None:
            credentials = credentials_from(self.manifest, os.environ)
            with sources.connect(self.manifest, base_url=self.base_url, credentials=credentials) as source:
                yield source
        elif self.log is None:
            raise SettingsError.no_log(self.source)
        else:
            yield recorded_log(Path(self.log), self.manifest)
