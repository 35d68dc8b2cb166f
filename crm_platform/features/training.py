"""Training sets: questions, what was known when they were asked, and what became of it, kept with all they came from.

Here a recipe is followed over pinned tables, and followed again. What decides a set stands in `recipes`, where sets lie
in `shelf`; who may read one by name in `gated`; labels and spines in `labels`; the join in `joins`.
"""

import hashlib
import io
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl

from crm_platform.contracts import MERGES, RANGES, UTC_US
from crm_platform.features.gated import training_set, training_set_as_of
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.labels import LABELS, label_conversions, open_spine
from crm_platform.features.recipes import Pinned, Recipe, TrainingError, TrainingManifest, code_of, recipe_for
from crm_platform.features.shelf import (
    MANIFEST,
    NEWEST,
    PARQUET,
    TrainingSet,
    folder_of,
    is_as_built,
    manifest_at,
    manifests_in,
    mark_outdated,
    outdated_inputs,
    pinned_versions,
    point_to,
    store,
    stored_set,
)
from crm_platform.history.carried import midnight
from crm_platform.history.windows import JUST_AFTER, upstream_of
from crm_platform.lake import Lake, fingerprint, first_red_day
from crm_platform.sources import Manifest

logger = logging.getLogger(__name__)

__all__ = [
    "MANIFEST",
    "PARQUET",
    "TrainingReport",
    "TrainingSet",
    "build_training_set",
    "follow",
    "mark_superseded",
    "measured_lag",
    "pinned_versions",
    "rebuild",
    "stored_set",
    "timelines_of",
    "training_set",
    "training_set_as_of",
    "versions_of",
]

KEYS = ("entity_id", "as_of")
KNOWN = pl.max_horizontal("event_time", "processed_time")
LIVE = ("feed", "webhook", "kafka")
"""Channels by which a live tick lands rows."""
ROW_GROUP = 131_072

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingReport:
    """What a build did.

    Attributes:
        manifest: The set's manifest.
        path: Its folder.
        is_new: Whether it was written just now.
        superseded: The ids of stored sets that were found outdated.
        blocked: The red day before which it ends, if one lies before the watermark.
    """

    manifest: TrainingManifest
    path: Path
    is_new: bool
    superseded: tuple[str, ...]
    blocked: date | None


def build_training_set(
    lake: Lake,
    manifest: Manifest,
    name: str,
    *,
    watermark: datetime,
    embargo: timedelta | None = None,
    progress: Progress | None = None,
) -> TrainingReport:
    """Builds a declared training set as far as its outcomes are known, and stores it under the hash of all it came from.

    Its name finds it only once its checks have passed (`gated`). A set that is stored already is not written again, unless
    what lies there was altered since. What happened on or after a red day of anything it comes from is not known well
    enough: the set ends before. Stored sets whose inputs have since changed, in the stretch that they read, are marked as
    superseded.

    Args:
        lake: Where features and history lie, and where the set goes: training/<name>/<id>/.
        manifest: Declares the set.
        name: The set.
        watermark: Everything known up to here is in the lake.
        embargo: How much older than as_of the features shall be; None for the measured lag, else the settling lag.
        progress: Is told what is being done.

    Raises:
        TrainingError: The set is not declared, or an input does not exist.
    """
    tell = progress or _silent
    blocked = _first_red(lake, manifest, name)
    if blocked is not None and midnight(blocked) <= watermark:
        tell(f"training/{name}: ends before {blocked}, which is red")
        watermark = midnight(blocked) - JUST_AFTER
    else:
        blocked = None
    recipe = recipe_for(
        manifest,
        name,
        watermark=watermark,
        earliest=_earliest(lake, manifest, name, watermark),
        measured=measured_lag(lake, manifest),
        embargo=embargo,
    )
    versions = {table: lake.version(table) for table in _inputs(recipe)}
    tell(f"training/{name}: reading {', '.join(versions)} up to {recipe.labels_read_at.isoformat()}")
    inputs = {table: _pinned(lake, recipe, table, version) for table, version in versions.items()}
    identity = _identity(recipe, inputs)
    path = lake.folder(f"training/{name}") / identity
    is_new = not is_as_built(path)
    if is_new:
        if path.exists():
            tell(f"training/{name}: {identity} was altered since it was built, and is written again")
        frame = follow(lake, recipe, versions)
        content = _parquet(frame)
        told = _described(identity, recipe, inputs, watermark=watermark, frame=frame, content=content)
        store(path, content, told)
    superseded = mark_superseded(lake, name, tell)
    point_to(path, NEWEST)
    tell(f"training/{name}: {identity} {'written' if is_new else 'was there already'}")
    return TrainingReport(manifest_at(path), path, is_new, superseded, blocked)


def follow(lake: Lake, recipe: Recipe, versions: Mapping[str, int | None]) -> pl.DataFrame:
    """The rows that a recipe gives on tables of these Delta versions, sorted by entity and moment.

    Raises:
        TrainingError: An input does not exist.
    """
    history = _bounded(lake, recipe, recipe.history, versions[recipe.history])
    merges = _bounded(lake, recipe, "history/merges", versions["history/merges"]).collect()
    spine = open_spine(history, recipe.moments, recipe.outcome, merges)
    labelled = label_conversions(spine, history, recipe.outcome, watermark=recipe.labels_read_at)
    asked = recipe.last - recipe.embargo
    timelines = {
        prefix: _steps(lake, recipe, table, versions[table], asked) for prefix, table in recipe.timelines.items()
    }
    return point_in_time_join(labelled, timelines, embargo=recipe.embargo)


def rebuild(lake: Lake, manifest: TrainingManifest) -> bytes:
    """Builds a training set again from its manifest: the bytes of its Parquet file, the same under the same code."""
    pinned = {table: pin.version for table, pin in manifest.inputs.items()}
    return _parquet(follow(lake, manifest.recipe, pinned))


def timelines_of(lake: Lake, manifest: TrainingManifest, *, until: datetime) -> dict[str, pl.LazyFrame]:
    """The timelines a stored set was joined with, by prefix, as they were then, up to a moment of the caller's choice."""
    recipe, inputs = manifest.recipe, manifest.inputs
    return {
        prefix: _steps(lake, recipe, table, inputs[table].version, until) for prefix, table in recipe.timelines.items()
    }


def versions_of(lake: Lake, manifest: TrainingManifest) -> pl.LazyFrame:
    """The versions that a stored set's outcomes were read from, as they were then."""
    recipe = manifest.recipe
    return _bounded(lake, recipe, recipe.history, manifest.inputs[recipe.history].version)


def mark_superseded(lake: Lake, name: str, tell: Progress = logger.warning) -> tuple[str, ...]:
    """Marks the stored sets whose inputs have changed in the stretch that they read; returns their ids.

    A set is compared with the Delta versions it pins, so that rows which only came later mark nothing.

    Args:
        lake: Where the sets lie.
        name: Whose sets.
        tell: Is told of sets whose manifest cannot be read; they stay as they are.
    """
    folder = folder_of(lake, name)
    marked: list[str] = []
    for identity, kept in manifests_in(folder, tell).items():
        path = folder / identity
        if outdated_inputs(path):
            continue
        changed = [table for table, pin in kept.inputs.items() if _has_changed(lake, kept.recipe, table, pin)]
        if changed:
            mark_outdated(path, changed)
            logger.info("training set %s/%s is superseded: %s changed", name, identity, ", ".join(changed))
            marked.append(identity)
    return tuple(marked)


def measured_lag(lake: Lake, manifest: Manifest) -> timedelta | None:
    """The p99 of `_ingested_at − processed_time` over what live ticks landed under the system's clock.

    None where nothing was measured: the clock is the source's head, the log was recorded, or only the first load of
    the feed (the batch without an offset before it) has landed.
    """
    if manifest.clock != "system" or manifest.debezium is not None:
        return None
    first = lake.scan("landing/ranges", schema=RANGES).filter(pl.col("from_offset").is_null()).select("batch_id")
    columns = pl.Schema(
        {"processed_time": UTC_US, "_ingested_at": UTC_US, "_channel": pl.String(), "_batch_id": pl.String()}
    )
    landed = pl.concat([lake.scan(f"history/{name}", schema=columns) for name in manifest.objects])
    live = landed.filter(pl.col("_channel").is_in(LIVE)).join(
        first, left_on="_batch_id", right_on="batch_id", how="anti"
    )
    lag = pl.col("_ingested_at") - pl.col("processed_time")
    return live.select(lag.quantile(0.99, "higher")).collect().item()


def _inputs(recipe: Recipe) -> list[str]:
    return [*sorted(recipe.timelines.values()), recipe.history, "history/merges"]


def known_by(moment: datetime) -> pl.Expr:
    """Versions and facts that may influence anything asked at a moment."""
    return pl.max_horizontal("event_time", "processed_time") <= moment


def _bounded(lake: Lake, recipe: Recipe, table: str, version: int | None) -> pl.LazyFrame:
    """Just the rows and columns of an input that can decide a row of the set."""
    if table == "history/merges":
        facts = lake.scan(table, schema=MERGES, version=version) if version is not None else pl.LazyFrame(schema=MERGES)
        known = facts.filter(pl.col("object") == recipe.entity, known_by(recipe.labels_read_at))
        return known.select("loser_id", "winner_id", "event_time", "processed_time")
    if version is None:
        raise TrainingError.not_built(recipe.name, table)
    if table == recipe.history:
        return (
            lake.scan(table, version=version)
            .filter(known_by(recipe.labels_read_at))
            .select(
                "entity_id",
                "event_time",
                "processed_time",
                "source_position",
                "is_tombstone",
                "changed_fields",
                recipe.field,
            )
        )
    return _steps(lake, recipe, table, version, recipe.last - recipe.embargo)


def _steps(lake: Lake, recipe: Recipe, table: str, version: int | None, until: datetime) -> pl.LazyFrame:
    """A timeline's steps up to a moment."""
    if version is None:
        raise TrainingError.not_built(recipe.name, table)
    rows = lake.scan(table, version=version)
    return rows.filter(pl.col("known_date") <= until.date(), pl.col("known_at") <= until).drop("known_date")


def _pinned(lake: Lake, recipe: Recipe, table: str, version: int | None) -> Pinned:
    rows, low, high = fingerprint(_bounded(lake, recipe, table, version))
    return Pinned(version=version, rows=rows, fingerprint=f"{low:016x}{high:016x}")


def _has_changed(lake: Lake, recipe: Recipe, table: str, pin: Pinned) -> bool:
    version = lake.version(table)
    if version == pin.version:
        return False
    return _pinned(lake, recipe, table, version).fingerprint != _pinned(lake, recipe, table, pin.version).fingerprint


def _first_red(lake: Lake, manifest: Manifest, name: str) -> date | None:
    """The first red day of anything a set comes from."""
    if name not in manifest.training:
        return None
    canonical = manifest.training[name].object
    tables = [*upstream_of(manifest.objects), "history/merges"]
    return first_red_day(lake, [*tables, f"features/{canonical}"])


def _earliest(lake: Lake, manifest: Manifest, name: str, watermark: datetime) -> datetime:
    """When the first entity became known; the watermark where none is."""
    entity = manifest.object_of(manifest.training[name].object) if name in manifest.training else None
    times = pl.Schema({"event_time": UTC_US, "processed_time": UTC_US})
    versions = pl.LazyFrame(schema=times) if entity is None else lake.scan(f"history/{entity}", schema=times)
    found = versions.select(KNOWN.min()).collect().item()
    return watermark if found is None else min(found, watermark)


def _identity(recipe: Recipe, inputs: Mapping[str, Pinned]) -> str:
    """The hash of inputs' content, code and specification; not of the Delta versions that happened to hold them."""
    content = {table: (pin.rows, pin.fingerprint) for table, pin in inputs.items()}
    told = json.dumps({"recipe": recipe.model_dump(mode="json"), "inputs": content, "code": code_of()}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _described(
    identity: str,
    recipe: Recipe,
    inputs: dict[str, Pinned],
    *,
    watermark: datetime,
    frame: pl.DataFrame,
    content: bytes,
) -> TrainingManifest:
    features = {name: str(kind) for name, kind in frame.schema.items() if name not in (*KEYS, *LABELS)}
    return TrainingManifest(
        id=identity,
        recipe=recipe,
        watermark=watermark,
        inputs=inputs,
        code=code_of(),
        rows=frame.height,
        positives=int(frame.get_column(LABELS[0]).sum()),
        entities=frame.get_column("entity_id").n_unique(),
        moments=frame.get_column("as_of").n_unique(),
        keys=KEYS,
        labels=LABELS,
        features=features,
        parquet_sha256=hashlib.sha256(content).hexdigest(),
    )


def _parquet(frame: pl.DataFrame) -> bytes:
    """The same frame gives the same bytes."""
    out = io.BytesIO()
    frame.write_parquet(out, compression="zstd", compression_level=3, row_group_size=ROW_GROUP, statistics=True)
    return out.getvalue()


def _silent(_: str) -> None:
    """Tells nobody."""
