"""Environments other than this one, made on demand, each from a lock of its own.

`peers.lock` is for the peers that do not resolve beside our dependencies; `deploy/requirements.lock` is what production
installs. They hold every file with its hash and name no host; `make lock` resolves them anew.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).with_name("peers.lock")
BY_UV = ("--quiet", "--require-hashes", "--no-deps", "--compile-bytecode")
"""Compiled, as pip leaves what it installs: otherwise every process would compile, where Python may not keep what it compiled."""


class AbsentError(Exception):
    """An environment cannot be made; the message says why, for the table."""


def python_with(folder, lock=LOCK):
    """The interpreter of the environment of a lock, made if it is not there for it.

    Raises:
        AbsentError: A package cannot be installed.
    """
    told = hashlib.sha256(lock.read_bytes() + " ".join(BY_UV).encode()).hexdigest()
    made_of = f"{sys.version_info.major}{sys.version_info.minor}-{told[:12]}"
    home = Path(folder) / f"{lock.stem}-{made_of}"
    if not home.exists():
        part = home.with_suffix(f".{os.getpid()}")
        try:
            _installed(part, lock)
            part.rename(home)
        except OSError:  # somebody else was faster
            if not home.exists():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return home / "bin" / "python"


def _installed(home, lock):
    """By uv, or by pip where that cannot, as make install does."""
    _run("making an environment", [sys.executable, "-m", "venv", str(home)])
    python, locked = str(home / "bin" / "python"), ["-r", str(lock)]
    try:
        _run("installing by uv", [sys.executable, "-m", "uv", "pip", "install", "--python", python, *BY_UV, *locked])
    except AbsentError:
        by_pip = ["--quiet", "--require-hashes", "--no-deps", "--disable-pip-version-check"]
        _run("installing", [python, "-m", "pip", "install", *by_pip, *locked])


def peer_versions(lock=LOCK, names=("feast", "timefence", "duckdb", "ibis-framework")):
    """The versions of what is measured there, by name."""
    found = dict(line.split(" ")[0].split("==") for line in lock.read_text().splitlines() if "==" in line[:60])
    bare = {name.split("[")[0]: one for name, one in found.items()}
    return {name: bare[name] for name in names}


def _run(what, command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise AbsentError(f"{what} failed: {said[-1] if said else f'exit code {done.returncode}'}")
