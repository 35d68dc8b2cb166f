"""What starts runs: one run per new range of the feed, and one snapshot a night."""

import dagster as dg
import pytest

from crm_platform.defs.jobs import INCREMENT, new_changes, nightly_snapshots
from crm_platform.defs.platform import Platform
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
