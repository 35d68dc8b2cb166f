"""Sensors and the schedule under a real daemon: what is new is requested once, failures are told once, nothing loops."""

import datetime as dt
import time

from crm_platform.defs.sandboxed import dagster_home
from crm_platform.lake import Lake
from crm_platform.landing import watermark
from crm_platform_tests.pipeline import FIRST, sandbox_at, settings_in
from crm_platform_tests.webserver import Webserver

NAMELESS = {"schema_change": {"object": "owner", "day": FIRST, "rename": {"name": "full_name"}}}
BOTH = ("new_changes", "alerts")


def settled(server):
    """The ticks of both sensors once the newest of each has nothing to say after something was said."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        ticks = {name: server.ticks(name) for name in BOTH}
        new, failed = ([tick["skipReason"] or "" for tick in ticks[name]] for name in BOTH)
        if (
            any("check_failed" in said for said in failed)
            and failed[-1].startswith("Nothing new")
            and "Nothing new" in new[-1]
        ):
            return ticks
        time.sleep(1)
    raise TimeoutError(server.runs(), ticks)


def test_what_is_new_is_requested_once_and_failures_are_told_once(tmp_path):
    with sandbox_at(tmp_path / "sandbox", days=2, accounts=10, faults=NAMELESS) as base_url:
        settings = settings_in(tmp_path, base_url, 2)
        dagster_home(settings)
        with Webserver(settings) as server:
            for name in BOTH:
                server.start_sensor(name)
            ticks = settled(server)
            assert server.runs() == [("increment", "SUCCESS")]
            night = server.tick_of_schedule("nightly_snapshots", dt.datetime(2026, 3, 3, 0, 30, tzinfo=dt.UTC))
    assert {tick["status"] for name in BOTH for tick in ticks[name]} == {"SKIPPED", "SUCCESS"}
    assert sum(len(tick["runIds"]) for tick in ticks["new_changes"]) == 1
    assert "Nothing new" in ticks["new_changes"][-1]["skipReason"]
    told = [tick["skipReason"] for tick in ticks["alerts"]]
    assert told[0] == "From now on what goes wrong is told."
    assert [line for line in told if "landing/changes/owner quarantine on 2026-03-01" in line] == told[-2:-1]
    assert told[-1] == "Nothing new since the last tick."
    assert [request["runKey"] for request in night["runRequests"]] == ["snapshot-2026-03-02"]
    assert watermark(Lake(settings.lake_root)) == dt.datetime(2026, 3, 3, tzinfo=dt.UTC)
