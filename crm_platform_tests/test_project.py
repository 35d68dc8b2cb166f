"""What the repository promises as a whole: no file that only works on one machine, a reason and a hash per dependency."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOMEBODYS = re.compile(r"(?<![\w.])/(root|home|Users|work|mnt)/\w")
REGISTRIES = re.compile(r"\bpypi[.]|python[h]osted|npm[j]s|--(extra-)?index[-]url|--trusted[-]host")
"""Hosts that packages come from, and options that name one: whoever installs has their own."""


def kept() -> list[Path]:
    """Every file that git keeps, the recorded input and pictures aside."""
    told = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    aside = ("data/samples/", "docs/pictures/")
    return [ROOT / name for name in told.splitlines() if not name.startswith(aside) and (ROOT / name).is_file()]


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return found[0].lower() if found else requirement


def dependencies() -> list[str]:
    told = PROJECT["project"]
    extras = told["optional-dependencies"].values()
    groups = PROJECT["dependency-groups"].values()
    return sorted({name_of(one) for held in (told["dependencies"], *extras, *groups) for one in held})


@pytest.mark.parametrize("pattern", [SOMEBODYS, REGISTRIES], ids=["a machine's path", "a registry's host"])
def test_no_file_names(pattern):
    held = {file: file.read_text(encoding="utf-8") for file in kept()}
    found = [f"{file.relative_to(ROOT)}: {hit[0]}" for file, text in held.items() for hit in pattern.finditer(text)]
    assert found == []
    assert len(held) > 200


@pytest.mark.parametrize("name", dependencies())
def test_every_dependency_has_its_reason_and_is_locked(name):
    reasons = "".join(file.read_text(encoding="utf-8").lower() for file in (ROOT / "docs/adr").glob("0*.md"))
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", reasons), f"{name} has no reason in docs/adr"
    locked = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert re.search(rf"^{re.escape(name)}(\[\w+\])?==", locked, re.MULTILINE), f"{name} is not locked: make lock"


def test_every_locked_package_has_a_version_and_hashes():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z])", text.strip())
    assert len(blocks) > 100
    assert [block.split()[0] for block in blocks if "==" not in block.split()[0] or "--hash=sha256:" not in block] == []
    assert not re.search(r"^-", text, re.MULTILINE)


def test_the_papers_are_there():
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    for name in ("README.md", "CHANGELOG.md", "GLOSSARY.md", "docs/adr/README.md", "data/README.md"):
        assert len((ROOT / name).read_text(encoding="utf-8")) > 300
    listed = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    assert [file.name for file in (ROOT / "docs/adr").glob("0*.md") if file.name not in listed] == []


def test_every_python_that_is_promised_is_tested_and_installed_for():
    promised = [line.split()[-1] for line in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", line)]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert promised == ["3.11", "3.12", "3.13"]
    assert f"PYTHONS ?= {' '.join(promised)}\n" in makefile
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"
