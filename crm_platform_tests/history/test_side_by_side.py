"""Twenty builds of the same tables at once, each with a lake of its own, leave what one leaves."""

from concurrent.futures import ThreadPoolExecutor

from crm_platform.history.build import build_current, build_history, build_merges
from crm_platform.lake import Lake
from crm_platform_tests.history.test_build import CONTRACTS, MANIFEST, WEEK, land
from crm_platform_tests.pipeline import contents
from crm_platform_tests.quality.test_lake_checks import fed
from crm_platform_tests.scenario import LIFE


def build(lake, days):
    build_history(lake, MANIFEST, CONTRACTS, "company", days)
    build_merges(lake, MANIFEST, CONTRACTS, days)
    build_current(lake, MANIFEST, CONTRACTS, "company")


def fresh(path):
    """A lake on which everything has landed and nothing is built."""
    lake = Lake(path)
    land(lake, *LIFE)
    fed(lake, (1, None, "10", True))
    return lake


def test_twenty_builds_at_once_leave_the_lake_that_one_leaves(tmp_path):
    alone = fresh(tmp_path / "alone")
    build(alone, WEEK)
    root = fresh(tmp_path / "many").root
    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(build, Lake(root), WEEK) for _ in range(20)]:
            done.result()
    assert contents(Lake(root)) == contents(alone)
