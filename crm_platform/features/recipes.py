"""What decides a training set, and what is written down about one: recipes, pinned inputs, manifests.

Values only: nothing here reads a table. How a recipe is followed stands in `training`.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import version

import polars as pl
from pydantic import BaseModel, ConfigDict

from crm_platform.contracts import PermanentError
from crm_platform.features.labels import Conversion, grid, last_mature
from crm_platform.history.claims import code_of as sources_of
from crm_platform.sources import Manifest

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)
"""A Monday: the moments of every grid are counted from here, so that they do not depend on what has landed."""

READ_BY = ("features", "history")
"""The rooms whose code decides what a training set holds."""


class TrainingError(PermanentError):
    """A training set cannot be made, or not found, as it is asked for."""

    @classmethod
    def undeclared(cls, name: str, source: str, known: list[str]) -> "TrainingError":
        """Says that a manifest declares no such set."""
        return cls(
            f"The manifest {source} declares no training set {name!r}; it declares: {', '.join(known) or 'none'}. "
            "Declare it under `training`."
        )

    @classmethod
    def homeless(cls, name: str, canonical: str, source: str) -> "TrainingError":
        """Says that what is asked about does not exist in the CRM."""
        return cls(
            f"Training set {name!r} asks about {canonical}, which the manifest {source} gives to no object. "
            "Name the object under `roles`."
        )

    @classmethod
    def not_built(cls, name: str, table: str) -> "TrainingError":
        """Says that an input does not exist yet."""
        return cls(f"Training set {name!r} reads {table}, which does not exist yet. Materialize it first.")

    @classmethod
    def unknown(cls, name: str, wanted: str, known: list[str]) -> "TrainingError":
        """Says that no such set is stored."""
        return cls(
            f"There is no training set {name!r} {wanted}; stored are: {', '.join(known) or 'none'}. "
            "Materialize the asset training/" + name + ", or ask for one of these."
        )

    @classmethod
    def altered(cls, name: str, identity: str, where: str) -> "TrainingError":
        """Says that what lies under an id is not what was built."""
        return cls(
            f"Training set {name} {identity} is not what was built under this id: {where}. Nobody may rely on it, nor read it "
            f"with an override. Materialize the asset training/{name} again: it writes the set anew, and its checks judge it."
        )

    @classmethod
    def negative(cls, what: str, span: timedelta) -> "TrainingError":
        """Says that a stretch of time looks into the future."""
        return cls(f"The {what} {span} is negative and would look into the future. Give zero or more.")


class Frozen(BaseModel):
    """A value that is written down as JSON and never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Frozen):
    """All that decides what a training set holds, beside the content of its inputs.

    `timelines` gives each prefix its table. The moments asked about are ORIGIN plus whole steps of `grid`, from `first`
    to `last`. `knowledge` says what proves when a change was recorded: of reconstructed history, only its own word.
    """

    name: str
    source: str
    knowledge: str
    entity: str
    field: str
    value: str
    closed: tuple[str, ...]
    horizon: timedelta
    grace: timedelta
    grace_reason: str
    embargo: timedelta
    embargo_reason: str
    grid: timedelta
    first: datetime
    last: datetime
    timelines: dict[str, str]

    @property
    def outcome(self) -> Conversion:
        """What is to be foreseen."""
        return Conversion(self.field, self.value, self.horizon, self.grace, self.closed)

    @property
    def moments(self) -> pl.Series:
        """The moments asked about (UTC, µs)."""
        return grid(self.first, self.last, self.grid)

    @property
    def history(self) -> str:
        """The table of the entity's versions."""
        return f"history/{self.entity}"

    @property
    def labels_read_at(self) -> datetime:
        """The last moment at which an outcome is read; what becomes known later changes no row."""
        return self.last + self.horizon + self.grace


class Pinned(Frozen):
    """One input as it was read: its Delta version, and the rows within the recipe's bounds with their fingerprint."""

    version: int | None
    rows: int
    fingerprint: str


class Pins(BaseModel):
    """What a training set's manifest pins, whichever release wrote the rest of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    inputs: dict[str, Pinned]


class TrainingManifest(Frozen):
    """What a training set is and came from: it can be built again from this, to the byte."""

    id: str
    recipe: Recipe
    watermark: datetime
    inputs: dict[str, Pinned]
    code: dict[str, str]
    rows: int
    positives: int
    entities: int
    moments: int
    keys: tuple[str, ...]
    labels: tuple[str, ...]
    features: dict[str, str]
    parquet_sha256: str


def recipe_for(
    manifest: Manifest,
    name: str,
    *,
    watermark: datetime,
    earliest: datetime,
    measured: timedelta | None = None,
    embargo: timedelta | None = None,
) -> Recipe:
    """The recipe of a declared training set at a watermark.

    Args:
        manifest: Declares the set, and what is waited for where nothing was measured.
        name: The set.
        watermark: Everything known up to here is in the lake: the last moment asked about has its outcome by then.
        earliest: When the first entity became known.
        measured: The p99 of the lag between recording and landing; None where none was measured.
        embargo: How much older than `as_of` the features shall be; None for what was measured, else the settling lag.
            Zero has to be said, or declared as the settling lag.

    Raises:
        TrainingError: The manifest does not declare the set or its object, or the embargo is negative.
    """
    if name not in manifest.training:
        raise TrainingError.undeclared(name, manifest.name, list(manifest.training))
    spec = manifest.training[name]
    entity = manifest.object_of(spec.object)
    if entity is None:
        raise TrainingError.homeless(name, spec.object, manifest.name)
    if embargo is not None and embargo < timedelta(0):
        raise TrainingError.negative("embargo", embargo)
    waited, why = _default_lag(manifest, measured)
    grace, grace_reason = (waited, why) if spec.grace is None else (spec.grace, "declared by the manifest")
    outcome = Conversion(spec.column, spec.value, spec.horizon, grace, tuple(spec.closed))
    return Recipe(
        name=name,
        source=manifest.name,
        knowledge=manifest.knowledge,
        entity=entity,
        field=spec.column,
        value=spec.value,
        closed=tuple(spec.closed),
        horizon=spec.horizon,
        grace=grace,
        grace_reason=grace_reason,
        embargo=waited if embargo is None else embargo,
        embargo_reason=why if embargo is None else "asked for",
        grid=spec.grid,
        first=_next_on(spec.grid, earliest),
        last=_last_on(spec.grid, last_mature(watermark, outcome)),
        timelines={spec.object: f"features/{spec.object}"},
    )


@cache
def code_of() -> dict[str, str]:
    """What stands for the code that makes training sets: versions, and a hash over the sources of the rooms it reads."""
    return {"crm-platform": version("crm-platform"), "polars": pl.__version__, "source_sha256": sources_of(READ_BY)}


def _default_lag(manifest: Manifest, measured: timedelta | None) -> tuple[timedelta, str]:
    if measured is None:
        return manifest.settling_lag, "the manifest's settling lag: no lag was measured"
    return max(measured, timedelta(0)), "p99 of the measured lag between recording and landing"


def _last_on(step: timedelta, moment: datetime) -> datetime:
    """The last moment of the grid that is not after the given one."""
    return ORIGIN + (moment - ORIGIN) // step * step


def _next_on(step: timedelta, moment: datetime) -> datetime:
    """The first moment of the grid that is not before the given one."""
    return ORIGIN - (ORIGIN - moment) // step * step
