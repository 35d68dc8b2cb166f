"""An event that lands after its day was built, and after midnight, gives the tables that it would have given in time.

The stream alone: an export taken before the event was visible rightly differs from one taken afterwards.
"""

import datetime as dt
from collections import Counter

from crm_platform.defs.jobs import INCREMENT
from crm_platform.lake import Lake
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in

DAYS = 4
MIDNIGHT = dt.datetime(2026, 3, 3, tzinfo=dt.UTC)
LATE = {"late_commits": {"share": 0.3, "lag_seconds": 20 * 3600}}
SANDBOX = {"days": DAYS, "accounts": 30, "faults": LATE}


def lake_in(folder):
    return Lake(folder / "lake")


def comparable(lake):
    """All but how the feed was cut into batches."""
    found = contents(lake, without=("_batch_id",))
    del found["landing/ranges"]
    return found


def rows_before_midnight(lake):
    """Rows recorded or known before it, by room."""
    found = Counter()
    for table in lake.tables():
        if table.startswith(("landing/changes", "features")):
            days = lake.rows_by_day(table)
            found[table.rpartition("/")[0]] += sum(rows for day, rows in days.items() if day < MIDNIGHT.date())
    return found


def test_rows_that_come_after_midnight_rebuild_the_days_they_belong_to(tmp_path):
    ticks, whole = tmp_path / "ticks", tmp_path / "whole"
    ticks.mkdir()
    whole.mkdir()
    with sandbox_at(tmp_path / "sandbox", head=MIDNIGHT, **SANDBOX) as base_url:
        assert run_days(settings_in(ticks, base_url, DAYS), FIRST, dt.date(2026, 3, 2), job=INCREMENT)
    early = rows_before_midnight(lake_in(ticks))
    with sandbox_at(tmp_path / "sandbox", **SANDBOX) as base_url:
        settings = settings_in(ticks, base_url, DAYS)
        assert run_days(settings, dt.date(2026, 3, 3), settings.last_day, job=INCREMENT)
        assert run_days(settings_in(whole, base_url, DAYS), FIRST, settings.last_day, job=INCREMENT)
    late = rows_before_midnight(lake_in(ticks))
    assert late["landing/changes"] > early["landing/changes"]
    assert late["features"] > early["features"]
    assert comparable(lake_in(ticks)) == comparable(lake_in(whole))
