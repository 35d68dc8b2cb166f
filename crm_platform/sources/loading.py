"""Manifests from YAML, held against the schema and against the contracts they name.

Whatever is wrong is said with the file, the place in it and the remedy. What a manifest may hold stands in `manifest`.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crm_platform.contracts import Contract, PermanentError, contracts_in
from crm_platform.sources.agreement import disagreements
from crm_platform.sources.errors import ManifestError
from crm_platform.sources.manifest import Manifest

BUNDLED = Path(__file__).parent / "manifests"


def bundled_manifests() -> list[str]:
    """The names of the manifests that come with the platform."""
    return sorted(file.stem for file in BUNDLED.glob("*.yaml"))


def load_manifest(name_or_path: str | Path) -> Manifest:
    """Loads a manifest by the name of a bundled one, or from a file.

    Raises:
        ManifestError: There is no such manifest, or it is broken; the message names file, place and remedy.
    """
    file = _file_of(name_or_path)
    read = _yaml_of(file)
    try:
        manifest = Manifest.model_validate(read)
    except ValidationError as broken:
        errors = broken.errors(include_url=False, include_input=False)
        first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
        raise ManifestError.broken(file, _place(first, read), *_told(first), more=len(errors) - 1) from None
    complaints = list(disagreements(manifest, _contracts(file, manifest)))
    if complaints:
        raise ManifestError.broken(file, *complaints[0], more=len(complaints) - 1)
    return manifest


def _file_of(name_or_path: str | Path) -> Path:
    bundled = BUNDLED / f"{name_or_path}.yaml"
    if isinstance(name_or_path, str) and name_or_path in bundled_manifests():
        return bundled
    file = Path(name_or_path)
    if not file.is_file():
        raise ManifestError.unknown(str(name_or_path), bundled_manifests())
    return file


def _yaml_of(file: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark or broken.context_mark
        line = mark.line + 1 if mark else 1
        raise ManifestError.unreadable(file, line, f"no YAML: {broken.problem or broken.context}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ManifestError.unreadable(file, 1, "no YAML text in UTF-8") from None
    if not isinstance(read, dict):
        raise ManifestError.unreadable(file, 1, "a manifest is a mapping of names to values")
    return read


def _place(error: ErrorDetails, read: dict[str, Any]) -> str:
    """The path of an error in the file, without the tags that a choice of models puts into it."""
    at: Any = read
    steps: list[str] = []
    for step in error["loc"]:
        known = isinstance(at, dict) and step in at
        last = step == error["loc"][-1]
        inside = isinstance(at, list) and isinstance(step, int)
        if known or inside or last:
            steps.append(str(step))
            at = cast("Any", at)[step] if known or inside else None
    return ".".join(steps) or "top"


def _told(error: ErrorDetails) -> tuple[str, str]:
    """What is wrong, and the remedy."""
    name = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "missing":
        return "is missing", f"Add `{name}:` there."
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, sorted(_names()), n=1)
        hint = f"did you mean `{near[0]}`? Otherwise remove it." if near else "remove it, or correct its spelling."
        return "is not known to a manifest", hint[0].upper() + hint[1:]
    what = error["msg"].removeprefix("Value error, ")
    return what[0].lower() + what[1:], "Correct the value; docs and `Manifest.model_json_schema()` say what may stand."


def _names() -> set[str]:
    def within(schema: Any) -> Iterator[str]:
        if isinstance(schema, dict):
            yield from schema.get("properties", {})
            for part in schema.values():
                yield from within(part)

    return set(within(Manifest.model_json_schema()))


def _contracts(file: Path, manifest: Manifest) -> dict[str, Contract]:
    try:
        return contracts_in(manifest.contracts)
    except ModuleNotFoundError:
        why, remedy = f"there is no module {manifest.contracts}", "Name a module that can be imported."
    except PermanentError as broken:
        why, remedy = str(broken), "Mend the contracts, or name another module."
    raise ManifestError.broken(file, "contracts", why, remedy)
