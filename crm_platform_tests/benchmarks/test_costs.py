"""What Dagster costs is measured on equal work: a few days here, a year in docs/costs.md."""

import pytest

from crm_platform.lake import Lake
from crm_platform_tests.benchmarks import costs
from crm_platform_tests.pipeline import sandbox_at, settings_in, versions


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("costs")
    return folder, *costs.rebuilds(folder, days=3, accounts=8, rounds=1)


def test_a_rebuild_and_a_script_come_to_the_same_tables(measured):
    _, took, place = measured
    assert [len(took[way]) for way in (costs.THROUGH_DAGSTER, costs.BY_SCRIPT)] == [1, 1]
    assert {"history/lead", "current/account", "features/account"} <= set(versions(Lake(place / "lake")))


def test_a_second_rebuild_writes_nothing_and_no_sensor_asks_for_a_run(measured):
    folder, _, place = measured
    with sandbox_at(folder / "crm", days=3, accounts=8) as base_url:
        settings = settings_in(place, base_url, 3)
        assert costs.nothing_to_do(place, "2026-03-01")[1] == 0
        assert set(costs.ticks(settings)) == {"new_changes", "gate_changed", "mended_days", "alerts"}


def test_the_page_says_what_is_met_and_what_is_missed():
    found = {
        "days": 365,
        "accounts": 200,
        "rounds": 1,
        "rebuilds": {
            costs.THROUGH_DAGSTER: [{"seconds": 16.0, "cpu": 12.0}],
            costs.BY_SCRIPT: [{"seconds": 10.0, "cpu": 9.0}],
        },
        "nothing": (4.0, 0),
        "ticks": {"alerts": 12.4, "new_changes": 201.0},
        "loads": {"an empty project": 1.0, "crm_platform": 1.25},
    }
    assert costs.page(found).splitlines() == [
        "| what | to reach | reached | |",
        "|---|---|---|---|",
        "| 365 days rebuilt | at most 1.5x the script | 1.60x | missed |",
        "| the same once more | no Delta version | 0 | met |",
        "| tick of `alerts`, nothing new | under 200 ms | 12 ms | met |",
        "| tick of `new_changes`, nothing new | under 200 ms | 201 ms | missed |",
        "| loading the definitions | at most 1.5x an empty project | 1.25x | met |",
        "",
        "| who | seconds | of CPU | runs |",
        "|---|---|---|---|",
        "| 365 days, 200 accounts: `crm-platform rebuild` | 16.0 | 12.0 | 1 |",
        "| 365 days, 200 accounts: a script | 10.0 | 9.0 | 1 |",
        "| the same rebuild, nothing to do | 4.0 |  | 1 |",
        "| loading the definitions: an empty project | 1.00 |  | 1 |",
        "| loading the definitions: crm_platform | 1.25 |  | 1 |",
    ]
