"""A backfill started as the UI starts it, in a real webserver with a real daemon."""

from crm_platform.lake import Lake
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in
from crm_platform_tests.webserver import Webserver

DAYS = 32


def files(lake, tables, days):
    return {(table, day): lake.files(table, [day]) for table in tables for day in lake.days(table) if day not in days}


def test_rebuilding_days_20_to_30_gives_equal_content_and_leaves_the_files_of_all_other_days(tmp_path):
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=20) as base_url:
        settings = settings_in(tmp_path, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
        lake = Lake(settings.lake_root)
        whole = contents(lake)
        lost = [FIRST.replace(day=day) for day in range(20, 31)]
        tables = ["history/lead", "features/lead"]
        for table in tables:
            lake.replace(table, lake.scan(table).clear().collect(), days=lost)
        others = files(lake, tables, lost)
        assert contents(lake) != whole
        with Webserver(settings) as server:
            keys = [table.split("/") for table in tables]
            status = server.backfill(keys, [day.isoformat() for day in lost])
        assert status in {"COMPLETED", "COMPLETED_SUCCESS"}
        assert contents(lake) == whole
        assert files(lake, tables, lost) == others
