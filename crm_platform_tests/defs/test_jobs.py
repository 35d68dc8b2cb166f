"""What starts runs: one run per new range of the feed, one snapshot a night, and a word on every check that failed."""

import dagster as dg
import pytest

from crm_platform.defs.jobs import INCREMENT, failed_checks, failures_told, new_changes, nightly_snapshots
from crm_platform.defs.platform import Platform
from crm_platform.defs.sandboxed import dagster_home
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

DAYS = 3


@pytest.fixture
def settings(tmp_path):
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=20) as base_url:
        yield settings_in(tmp_path, base_url, DAYS)


def tick(settings, cursor=None):
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"platform": Platform.from_settings(settings)}
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        return new_changes(context), context.cursor


def test_a_new_range_is_requested_once_and_not_at_all_once_it_has_landed(settings):
    asked, cursor = tick(settings)
    assert isinstance(asked, dg.RunRequest)
    assert asked.tags["dagster/asset_partition_range_start"] == "2026-03-01"
    assert asked.tags["dagster/asset_partition_range_end"] == "2026-03-03"
    again, _ = tick(settings, cursor)
    assert isinstance(again, dg.SkipReason)
    assert "requested already" in again.skip_message
    assert run_days(settings, FIRST, settings.last_day, job=INCREMENT)
    landed, _ = tick(settings)
    assert isinstance(landed, dg.SkipReason)
    assert "Nothing new" in landed.skip_message


def test_the_nightly_schedule_asks_for_the_last_day_that_is_over(settings):
    asked = nightly_snapshots(platform=Platform.from_settings(settings))
    assert isinstance(asked, dg.RunRequest)
    assert asked.run_key == "snapshot-2026-03-03"


def evaluation(check, *, passed, partition=None):
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["history", "lead"]), check_name=check, passed=passed, partition=partition
    )


def test_failures_are_grouped_by_check_and_name_their_days():
    told = failures_told(
        [
            *(evaluation("contract", passed=False, partition=f"2026-03-{day:02}") for day in range(1, 8)),
            evaluation("contract", passed=False),
            evaluation("duplicates", passed=True),
        ]
    )
    assert told == [
        "history/lead contract failed on 2026-03-01, 2026-03-02, 2026-03-03, 2026-03-04, 2026-03-05 and 2 more days"
    ]


def test_the_first_tick_of_the_failure_sensor_only_notes_where_it_begins():
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        assert "From now on" in failed_checks(context).skip_message
        again = dg.build_sensor_context(instance=instance, cursor=context.cursor)
        assert "No check failed" in failed_checks(again).skip_message


def told_by_sensor(cursor):
    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        return failed_checks(context).skip_message, context.cursor


def test_a_check_that_fails_in_a_run_is_told_once_with_its_days(tmp_path):
    renamed = {"schema_change": {"object": "owner", "day": FIRST, "rename": {"region": "territory"}}}
    with sandbox_at(tmp_path / "sandbox", days=2, accounts=10, faults=renamed) as base_url:
        settings = settings_in(tmp_path, base_url, 2)
        dagster_home(settings)
        said, cursor = told_by_sensor(None)
        assert said == "From now on failed checks are told."
        run_days(settings, FIRST, settings.last_day)
    said, later = told_by_sensor(cursor)
    assert said.split("; ") == [
        "landing/changes/owner quarantine failed on 2026-03-01",
        "landing/snapshot/owner schema_drift failed on 2026-03-01, 2026-03-02",
    ]
    said, last = told_by_sensor(later)
    assert said == "No check failed since the last tick."
    assert last == later
