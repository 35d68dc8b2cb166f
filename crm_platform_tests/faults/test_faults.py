"""Every fault of the matrix is told, holds back what it must, and is mended by what the runbook says.

`make test-faults` plays all and writes docs/faults.md; the usual tests play two.
"""

import os
import re
import shutil
import time

import pytest

from crm_platform_tests.faults.matrix import MATRIX
from crm_platform_tests.faults.stage import Stage
from crm_platform_tests.faults.table import FILE, Played, keep, rows

WRITES = "CRM_PLATFORM_FAULTS" in os.environ
NAMES = [fault.name for fault in MATRIX]
DAYS = 6


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    return tmp_path_factory.mktemp("logs")


def whole(folder, logs, days):
    stage = Stage(folder, days, 16, logs)
    with stage.crm():
        assert stage.run()
    return stage


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, logs):
    return whole(tmp_path_factory.mktemp("healthy"), logs, DAYS)


@pytest.fixture
def stage(request, tmp_path, logs):
    """What a fault begins with."""

    def begin(fault):
        if fault.lake == "fresh":
            return Stage(tmp_path, DAYS, 16, logs)
        source = request.getfixturevalue(fault.lake)
        shutil.copytree(source.folder, tmp_path, dirs_exist_ok=True)
        begun = Stage(tmp_path, source.days, 16, logs)
        begun.configure()
        return begun

    return begin


@pytest.mark.parametrize(
    "fault", [pytest.param(f, id=f.name, marks=[] if f.smoke else [pytest.mark.faults]) for f in MATRIX]
)
def test_a_fault_is_told_and_its_documented_remedy_returns_everything_to_green(fault, stage, request):
    played = stage(fault)
    fault.inject(played)
    played.tick()
    told_after = time.monotonic() - played.met
    told, waits, red = played.told(), played.waiting(), played.red()
    print(fault.name, "told", told, "waits", waits, "red", red)  # noqa: T201  shown where the test fails
    began = time.monotonic()
    fault.remedy(played)
    code, _ = played.command("check", "gate/red")
    played.tick()
    green_after = time.monotonic() - began
    still = [*played.told(), *played.red(), *played.waiting(), *([] if code == 0 else ["gate/red"])]
    unequal: list[str] = []
    if fault.is_equal:
        ours, theirs = (
            played.contents(),
            request.getfixturevalue("healthy").contents(),
        )
        unequal = sorted(table for table in ours.keys() | theirs.keys() if ours.get(table) != theirs.get(table))
    print("still", still, "unequal", unequal)  # noqa: T201  same
    equal = f"not equal: {', '.join(unequal)}" if unequal else "equal to a lake that never saw it"
    after = "; ".join(still) or (equal if fault.is_equal else "green")
    if WRITES:
        after = f"{after}. {fault.finding}" if fault.finding else after
        keep(Played(fault.name, fault.what, told, told_after, waits, fault.does, after, green_after), NAMES)
    assert (tuple(told), still, unequal) == (fault.tells, list(fault.stays), [])
    assert fault.waits is None or tuple(waits) == fault.waits


def test_every_fault_of_the_matrix_has_its_row_and_nothing_else_has():
    assert list(rows(FILE.read_text(encoding="utf-8"))) == NAMES
    assert len(NAMES) == len(set(NAMES))
    assert not re.search(r"\bnan\b", FILE.read_text(encoding="utf-8"))
