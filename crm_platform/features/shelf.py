"""Where training sets lie: their files, the marks beside them, and how they are found again.

Files under training/<name>/<id>/ of the lake's root, each written whole or not at all. What is in a set, and which sets
are outdated, is `training`'s; which may be read by name, `gated`'s.
"""

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import BaseModel, ValidationError

from crm_platform.features.labels import LABELS
from crm_platform.features.recipes import Pins, TrainingError, TrainingManifest
from crm_platform.lake import Lake

logger = logging.getLogger(__name__)

PARQUET = "training_set.parquet"
MANIFEST = "manifest.json"
SUPERSEDED = "superseded.json"
LATEST = "latest"
"""Names the set whose checks passed last: the one that a name stands for."""
NEWEST = "newest"
"""Names the set that was built last, judged or not."""

Tell = Callable[[str], None]
"""Is told what stands in the way, in one sentence each."""
Told = TypeVar("Told", bound=BaseModel)


@dataclass(frozen=True)
class TrainingSet:
    """A stored training set.

    `frame` has one row per question: entity_id, as_of, label, label_event_time, label_known_at, then the features.
    `superseded` says which inputs have changed in the stretch that the set reads; empty if none has. `seal` is the hash of
    its manifest, which holds that of its rows: equal seals, equal sets.
    """

    frame: pl.DataFrame
    manifest: TrainingManifest
    path: Path
    superseded: tuple[str, ...]
    seal: str

    @property
    def features(self) -> pl.DataFrame:
        """What a model may be given: no key, no label."""
        return self.frame.select(list(self.manifest.features))

    @property
    def labels(self) -> pl.Series:
        """What a model shall foresee."""
        return self.frame.get_column(LABELS[0])


def stored_set(lake: Lake | Path | str, name: str, id: str | None = None) -> TrainingSet:  # noqa: A002  a notebook's word
    """Opens a stored training set whatever its checks say: for those who judge it. Everybody else asks `training_set`.

    Args:
        lake: The lake, or where it lies.
        name: Such as `lead_conversion`.
        id: Which one; None for the one that was built last.

    Raises:
        TrainingError: There is no such set, or what lies there is not what was built under this id.
    """
    folder = folder_of(lake, name)
    wanted = id if id is not None else pointed_at(folder, NEWEST)
    if wanted is None or not (folder / wanted / MANIFEST).exists():
        raise TrainingError.unknown(name, "at all" if wanted is None else f"with id {wanted}", stored_in(folder))
    path = folder / wanted
    told, content = _files_of(path)
    wrong = _altered(path, told, content)
    if wrong is not None:
        raise TrainingError.altered(name, wanted, wrong)
    manifest = TrainingManifest.model_validate_json(told)
    return TrainingSet(pl.read_parquet(io.BytesIO(content)), manifest, path, outdated_inputs(path), _hash_of(told))


def is_as_built(path: Path) -> bool:
    """Whether a set lies here whole, and is what was built under its id."""
    return (path / MANIFEST).exists() and _altered(path, *_files_of(path)) is None


def seal_at(path: Path) -> str:
    """The hash of a stored set's manifest as it lies there."""
    return _hash_of((path / MANIFEST).read_bytes())


def _files_of(path: Path) -> tuple[bytes, bytes]:
    """Manifest and rows as they lie there; nothing for rows that are gone."""
    rows = path / PARQUET
    return (path / MANIFEST).read_bytes(), rows.read_bytes() if rows.exists() else b""


def _altered(path: Path, told: bytes, content: bytes) -> str | None:
    """What shows that a stored set is not what was built; None if nothing does."""
    try:
        manifest = TrainingManifest.model_validate_json(told)
    except ValidationError:
        return f"its {MANIFEST} is none"
    if manifest.id != path.name:
        return f"its {MANIFEST} is that of {manifest.id}"
    if not content:
        return f"its {PARQUET} is gone"
    if _hash_of(content) != manifest.parquet_sha256:
        return f"its {PARQUET} has another content than its {MANIFEST} says"
    return None


def _hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept_beside(found: TrainingSet, file_name: str) -> bytes | None:
    """What is kept beside a stored set under a name; None if nothing is."""
    path = found.path / file_name
    return path.read_bytes() if path.exists() else None


def keep_beside(found: TrainingSet, file_name: str, content: bytes) -> None:
    """Keeps something made from a stored set beside it, whole or not at all."""
    write_whole(found.path / file_name, content)


def pinned_versions(lake: Lake, tell: Tell = logger.warning) -> dict[str, set[int]]:
    """The Delta versions that stored training sets can be built again from, by table: no vacuum may take them.

    A set whose manifest cannot be read is named and passed by: nobody can build it again, so it pins nothing.
    """
    pinned: dict[str, set[int]] = {}
    for _, pins in _readable(lake.folder("training").glob(f"*/*/{MANIFEST}"), Pins, tell):
        for table, pin in pins.inputs.items():
            if pin.version is not None:
                pinned.setdefault(table, set()).add(pin.version)
    return pinned


def manifests_in(folder: Path, tell: Tell = logger.warning) -> dict[str, TrainingManifest]:
    """By id, in order, what the whole sets of a folder say of themselves; one that cannot be read is named and passed by."""
    return {
        path.name: manifest for path, manifest in _readable(folder.glob(f"[!.]*/{MANIFEST}"), TrainingManifest, tell)
    }


def _readable(files: Iterable[Path], kind: type[Told], tell: Tell) -> Iterator[tuple[Path, Told]]:
    """The folder and the manifest of every set whose manifest can be read; of the others it is told which they are."""
    for file in sorted(files):
        try:
            manifest = kind.model_validate_json(file.read_bytes())
        except (ValidationError, OSError) as failure:
            name, identity = file.parts[-3:-1]
            why = failure.errors()[0]["type"] if isinstance(failure, ValidationError) else type(failure).__name__
            tell(
                f"training/{name}/{identity}: its {MANIFEST} cannot be read ({why}). The set is passed by, and nothing is kept "
                f"for it any more. Put the file back, or move {file.parent} away; if it is the newest set, materialize "
                f"training/{name}, which writes it anew."
            )
            continue
        yield file.parent, manifest


def store(path: Path, content: bytes, manifest: TrainingManifest) -> None:
    """Both files appear under the id at one moment, or not at all; what was altered there goes, and its verdicts with it."""
    staged, aside = path.parent / f".{path.name}", path.parent / f".{path.name}.altered"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
    staged.mkdir(parents=True)
    write_whole(staged / PARQUET, content)
    write_whole(staged / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    if path.exists():
        path.rename(aside)
    staged.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """The file has this content once it has its name, whenever the process dies."""
    staged = path.with_name(f".{path.name}.part")
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)


def point_to(path: Path, pointer: str) -> None:
    """Makes a set the one that a pointer beside it names."""
    if pointed_at(path.parent, pointer) != path.name:
        write_whole(path.parent / pointer, f"{path.name}\n".encode())


def pointed_at(folder: Path, pointer: str) -> str | None:
    """The id that a pointer names; None where it names none."""
    file = folder / pointer
    return file.read_text(encoding="utf-8").strip() if file.exists() else None


def folder_of(lake: Lake | Path | str, name: str) -> Path:
    """Where the sets of a name lie; nothing is made by looking."""
    opened = lake if isinstance(lake, Lake) else Lake(lake)
    return opened.folder("training") / name if "://" in opened.root else Path(opened.root, "training", name)


def stored_in(folder: Path) -> list[str]:
    """The ids of the sets that lie in a folder whole."""
    return sorted(path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}"))


def manifest_at(path: Path) -> TrainingManifest:
    """What a stored set says of itself."""
    return TrainingManifest.model_validate_json((path / MANIFEST).read_bytes())


def mark_outdated(path: Path, inputs: Sequence[str]) -> None:
    """Says beside a set which of its inputs are not what they were."""
    write_whole(path / SUPERSEDED, json.dumps({"inputs": list(inputs)}, indent=2).encode() + b"\n")


def outdated_inputs(path: Path) -> tuple[str, ...]:
    """Which inputs of a stored set are known not to be what they were."""
    marker = path / SUPERSEDED
    return tuple(json.loads(marker.read_bytes())["inputs"]) if marker.exists() else ()
