"""What was measured with: the code, the machine, the versions of whatever takes part."""

import hashlib
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MEASURED = ("crm_platform", "crm_platform_tests/benchmarks", "requirements.lock")
"""What a result depends on: changes here that are not committed count as another commit."""


def commit():
    """The short hash of the last commit that changed them, with that of what is not committed behind a plus."""
    short = _git("log", "-1", "--format=%h", "--", *MEASURED).strip()
    new = _git("ls-files", "--others", "--exclude-standard", "--", *MEASURED).splitlines()
    changed = _git("diff", "HEAD", "--", *MEASURED) + "".join((REPOSITORY / one).read_text() for one in sorted(new))
    return f"{short}+{hashlib.sha256(changed.encode()).hexdigest()[:8]}" if changed else short


def machine():
    """Processor, cores, memory and system in one line."""
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = memory_total() / 2**30
    model = models[0] if models else platform.machine()
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def memory_total():
    """Bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def versions():
    """Our own environment's, by name."""
    names = ("polars", "numpy", "pyarrow", "duckdb", "pandas", "deltalake")
    return {"Python": platform.python_version()} | {name: version(name) for name in names}


def _git(*command):
    return subprocess.run(["git", *command], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
