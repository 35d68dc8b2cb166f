"""What Dagster costs is measured on equal work: a few days here, a year in docs/costs.md."""

import datetime as dt
import shutil

import pytest

from crm_platform.lake import Lake
from crm_platform_tests.benchmarks import costs
from crm_platform_tests.pipeline import sandbox_at, settings_in, versions


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("costs")
    return folder, *costs.rebuilds(folder, costs.landed_in(folder, days=3, accounts=8), rounds=1)


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


def test_what_landed_whole_is_used_again_as_it_is(measured):
    folder, _, _ = measured
    before = files_of(folder / "landed")
    assert costs.landed_in(folder, days=3, accounts=8).folder == folder / "landed"
    assert files_of(folder / "landed") == before


def test_landing_that_was_cut_off_goes_on_where_it_stopped(measured, tmp_path):
    folder, _, _ = measured
    shutil.copytree(folder / "crm", tmp_path / "crm")
    shutil.copytree(folder / "landed", tmp_path / "landed")
    (tmp_path / "landed" / costs.WHOLE).unlink()
    shutil.rmtree(tmp_path / "landed" / "lake" / "landing" / "snapshot" / "owner")
    lake = Lake(costs.landed_in(tmp_path, days=3, accounts=8).folder / "lake")
    assert lake.days("landing/snapshot/owner") == [dt.date(2026, 3, 1), dt.date(2026, 3, 2), dt.date(2026, 3, 3)]
    assert {table: number for table, number in versions(lake).items() if table != "landing/snapshot/owner"} == {
        table: number
        for table, number in versions(Lake(folder / "landed" / "lake")).items()
        if table != "landing/snapshot/owner"
    }


@pytest.mark.parametrize(("days", "accounts"), [(4, 8), (3, 9)])
def test_what_landed_with_other_settings_is_refused_and_nothing_is_generated(measured, days, accounts):
    folder, _, _ = measured
    before = files_of(folder / "crm")
    with pytest.raises(costs.OtherSettingsError, match=f"is not of {days} days of {accounts} accounts"):
        costs.landed_in(folder, days=days, accounts=accounts)
    assert files_of(folder / "crm") == before


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


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
