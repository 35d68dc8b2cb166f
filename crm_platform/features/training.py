"""Training sets: questions, what was known when they were asked, and what became of it, kept with all they came from.

Here a recipe is followed over pinned tables, and the set is stored, found and built again. What decides a set stands in
`recipes`; labels and spines in `labels`; the join in `joins`.
"""

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from crm_platform.contracts import MERGES, RANGES, UTC_US
from crm_platform.features.joins import point_in_time_join
from crm_platform.features.labels import LABELS, label_conversions, open_spine
from crm_platform.features.recipes import Pinned, Recipe, TrainingError, TrainingManifest, code_of, recipe_for
from crm_platform.lake import Lake, fingerprint
from crm_platform.sources import Manifest

logger = logging.getLogger(__name__)

KEYS = ("entity_id", "as_of")
KNOWN = pl.max_horizontal("event_time", "processed_time")
LIVE = ("feed", "webhook", "kafka")
"""Channels by which a live tick lands rows."""
PARQUET = "training_set.parquet"
MANIFEST = "manifest.json"
SUPERSEDED = "superseded.json"
LATEST = "latest"
ROW_GROUP = 131_072

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingReport:
    """What a build did: the set's manifest and folder, whether it was written just now, and the ids it found outdated."""

    manifest: TrainingManifest
    path: Path
    is_new: bool
    superseded: tuple[str, ...]


@dataclass(frozen=True)
class TrainingSet:
    """A stored training set.

    `frame` has one row per question: entity_id, as_of, label, label_event_time, label_known_at, then the features.
    `superseded` says which inputs have changed in the stretch that the set reads; empty if none has.
    """

    frame: pl.DataFrame
    manifest: TrainingManifest
    path: Path
    superseded: tuple[str, ...]

    @property
    def features(self) -> pl.DataFrame:
        """What a model may be given: no key, no label."""
        return self.frame.select(list(self.manifest.features))

    @property
    def labels(self) -> pl.Series:
        """What a model shall foresee."""
        return self.frame.get_column(LABELS[0])


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

    A set that is stored already is not written again. Stored sets whose inputs have since changed, in the stretch that
    they read, are marked as superseded.

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
    is_new = not (path / MANIFEST).exists()
    if is_new:
        frame = follow(lake, recipe, versions)
        content = _parquet(frame)
        told = _described(identity, recipe, inputs, watermark=watermark, frame=frame, content=content)
        _store(path, content, told)
    superseded = mark_superseded(lake, name)
    _point_to(path)
    tell(f"training/{name}: {identity} {'written' if is_new else 'was there already'}")
    return TrainingReport(_manifest_at(path), path, is_new, superseded)


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


def training_set(lake: Lake | Path | str, name: str, id: str | None = None) -> TrainingSet:  # noqa: A002  a notebook's word
    """Opens a stored training set, for a notebook.

    Args:
        lake: The lake, or where it lies.
        name: Such as `lead_conversion`.
        id: Which one; None for the one that was built last.

    Raises:
        TrainingError: There is no such set.
    """
    folder = _folder(lake, name)
    pointer = folder / LATEST
    wanted = id if id is not None else pointer.read_text().strip() if pointer.exists() else None
    if wanted is None or not (folder / wanted / MANIFEST).exists():
        raise TrainingError.unknown(name, "at all" if wanted is None else f"with id {wanted}", _stored(folder))
    path = folder / wanted
    return TrainingSet(pl.read_parquet(path / PARQUET), _manifest_at(path), path, _outdated_inputs(path))


def training_set_as_of(lake: Lake | Path | str, name: str, moment: datetime) -> TrainingSet:
    """Opens the stored training set that knows most of what was known at a moment, and nothing later.

    Raises:
        TrainingError: Every stored set knows more than that, or there is none.
    """
    folder = _folder(lake, name)
    found = [_manifest_at(folder / identity) for identity in _stored(folder)]
    fitting = [one for one in found if one.recipe.labels_read_at <= moment]
    if not fitting:
        raise TrainingError.unknown(name, f"that ends by {moment.isoformat()}", [one.id for one in found])
    valid = [one for one in fitting if not _outdated_inputs(folder / one.id)] or fitting
    return training_set(lake, name, max(valid, key=lambda one: (one.recipe.labels_read_at, one.watermark, one.id)).id)


def timelines_of(lake: Lake, manifest: TrainingManifest, *, until: datetime) -> dict[str, pl.LazyFrame]:
    """The timelines a stored set was joined with, by prefix, as they were then, up to a moment of the caller's choice."""
    recipe, inputs = manifest.recipe, manifest.inputs
    return {
        prefix: _steps(lake, recipe, table, inputs[table].version, until) for prefix, table in recipe.timelines.items()
    }


def kept_beside(found: TrainingSet, file_name: str) -> bytes | None:
    """What is kept beside a stored set under a name; None if nothing is."""
    path = found.path / file_name
    return path.read_bytes() if path.exists() else None


def keep_beside(found: TrainingSet, file_name: str, content: bytes) -> None:
    """Keeps something made from a stored set beside it, whole or not at all."""
    _write_whole(found.path / file_name, content)


def mark_superseded(lake: Lake, name: str) -> tuple[str, ...]:
    """Marks the stored sets whose inputs have changed in the stretch that they read; returns their ids.

    A set is compared with the Delta versions it pins, so that rows which only came later mark nothing.
    """
    folder = _folder(lake, name)
    marked: list[str] = []
    for identity in _stored(folder):
        path = folder / identity
        if (path / SUPERSEDED).exists():
            continue
        kept = _manifest_at(path)
        changed = [table for table, pin in kept.inputs.items() if _has_changed(lake, kept.recipe, table, pin)]
        if changed:
            _write_whole(path / SUPERSEDED, json.dumps({"inputs": changed}, indent=2).encode() + b"\n")
            logger.info("training set %s/%s is superseded: %s changed", name, identity, ", ".join(changed))
            marked.append(identity)
    return tuple(marked)


def pinned_versions(lake: Lake) -> dict[str, set[int]]:
    """The Delta versions that stored training sets can be built again from, by table: no vacuum may take them."""
    pinned: dict[str, set[int]] = {}
    for path in sorted(lake.folder("training").glob(f"*/*/{MANIFEST}")):
        for table, pin in _manifest_at(path.parent).inputs.items():
            if pin.version is not None:
                pinned.setdefault(table, set()).add(pin.version)
    return pinned


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


def _store(path: Path, content: bytes, manifest: TrainingManifest) -> None:
    """Both files appear under the id at one moment, or not at all."""
    staged = path.parent / f".{path.name}"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    _write_whole(staged / PARQUET, content)
    _write_whole(staged / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    staged.rename(path)


def _write_whole(path: Path, content: bytes) -> None:
    """The file has this content once it has its name, whenever the process dies."""
    staged = path.with_name(f".{path.name}.part")
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def _point_to(path: Path) -> None:
    pointer = path.parent / LATEST
    if not pointer.exists() or pointer.read_text().strip() != path.name:
        _write_whole(pointer, f"{path.name}\n".encode())


def _folder(lake: Lake | Path | str, name: str) -> Path:
    """Where the sets of a name lie; nothing is made by looking."""
    opened = lake if isinstance(lake, Lake) else Lake(lake)
    return opened.folder("training") / name if "://" in opened.root else Path(opened.root, "training", name)


def _stored(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}"))


def _manifest_at(path: Path) -> TrainingManifest:
    return TrainingManifest.model_validate_json((path / MANIFEST).read_bytes())


def _outdated_inputs(path: Path) -> tuple[str, ...]:
    marker = path / SUPERSEDED
    return tuple(json.loads(marker.read_bytes())["inputs"]) if marker.exists() else ()


def _silent(_: str) -> None:
    """Tells nobody."""
