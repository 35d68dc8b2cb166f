import pytest

from crm_platform_tests.benchmarks.measuring import WORKS


@pytest.mark.parametrize("work", list(WORKS))
def test_what_is_measured_gives_the_answers_of_its_peers(work, tmp_path):
    works = WORKS[work](3_000, tmp_path)
    assert len(works) > 1
    for run in works.values():
        run()
