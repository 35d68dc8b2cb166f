"""A run that is killed at any moment and then run again leaves the tables that an undisturbed run leaves."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from crm_platform.lake import Lake
from crm_platform_tests.pipeline import contents, sandbox_at, settings_in

KILLS = int(os.environ.get("CRM_PLATFORM_KILLS", "5"))
DAYS = 4


def start(settings):
    child = subprocess.Popen(
        [sys.executable, "-m", "crm_platform_tests.pipeline", str(settings.folder / "crm_platform.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "running\n"
    return child


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The sandbox's address, what one whole run leaves, and how long it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with sandbox_at(tmp_path_factory.mktemp("sandbox"), days=DAYS, accounts=20) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        began = time.monotonic()
        child = start(settings)
        assert child.wait() == 0
        child.stdout.close()
        yield base_url, contents(Lake(settings.lake_root)), time.monotonic() - began


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_killed_run_repeated_gives_the_same_tables(undisturbed, tmp_path, seed):
    base_url, expected, took = undisturbed
    settings = settings_in(tmp_path, base_url, DAYS)
    child = start(settings)
    try:
        child.wait(timeout=random.Random(seed).uniform(0.05, 0.95) * took)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    child.stdout.close()
    again = start(settings)
    assert again.wait(timeout=300) == 0
    again.stdout.close()
    assert contents(Lake(settings.lake_root)) == expected
