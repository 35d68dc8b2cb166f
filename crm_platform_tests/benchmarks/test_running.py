import pytest

from crm_platform_tests.benchmarks.contest import Contestant, Local, Work
from crm_platform_tests.benchmarks.made_files import Size
from crm_platform_tests.benchmarks.running import RunError, run_once
from crm_platform_tests.benchmarks.works import WORKS

JOIN = WORKS["join"]


def once(folder, work=JOIN, contestant=JOIN.ours, limits=(120.0, 4e9)):
    return run_once(work, contestant, Size(1_000), folder=folder, layout="activity", limits=limits, python=None)


def test_a_run_says_how_long_it_took_and_how_much_memory_it_held(tmp_path):
    took = once(tmp_path)
    assert set(took) == {"seconds", "cpu", "peak"}
    assert 0 < took["seconds"] < 60
    assert took["peak"] > 50_000_000


def test_a_run_that_takes_too_long_is_ended(tmp_path):
    with pytest.raises(RunError, match="ended after 0 s"):
        once(tmp_path, limits=(0.0, 4e9))


def test_a_run_that_holds_too_much_is_ended(tmp_path):
    with pytest.raises(RunError, match="ended when it held more than 0 GB"):
        once(tmp_path, limits=(120.0, 1.0))


def test_a_run_that_fails_says_what_was_raised(tmp_path):
    unknown = Contestant("nobody", Local(lambda _given: None))
    with pytest.raises(RunError, match="failed: StopIteration"):
        once(tmp_path, contestant=unknown)


def test_a_work_whose_files_cannot_be_made_is_told_by_its_own_error(tmp_path):
    def made(_folder, _size, _layout, _is_at_once):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        once(tmp_path, Work("join", "", made, (JOIN.ours,)))
