"""What definitions are made of loads fast: what only runs and commands need is imported by them."""

import subprocess
import sys

import pytest

LOADED = "import sys; from crm_platform.definitions import defs; defs.get_repository_def(); print(*sys.modules)"


@pytest.fixture(scope="module")
def loaded():
    """The modules that a process holds which has loaded the definitions."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "library",
    [
        "sqlalchemy",
        "alembic",
        "httpx",
        "matplotlib",
        "dagster._core.scheduler.instigation",
        "dagster._core.execution.backfill",
    ],
)
def test_definitions_load_without_what_only_runs_and_ticks_need(loaded, library):
    assert "crm_platform.defs.checklist" in loaded
    assert library not in loaded


def test_what_speaks_http_is_found_where_it_has_always_been():
    from crm_platform.alerts import TargetError, send  # noqa: PLC0415
    from crm_platform.sources import HttpSource, connect  # noqa: PLC0415

    assert [TargetError.__module__, send.__module__] == ["crm_platform.alerts.targets"] * 2
    assert [HttpSource.__module__, connect.__module__] == ["crm_platform.sources.source"] * 2
