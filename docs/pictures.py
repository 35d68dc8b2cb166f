"""Photographs the Dagster UI for the docs, in headless Chromium: `make pictures`.

Everything that is photographed is made here, in a temporary folder: a small sandbox CRM, one run over all days, `dg dev` over
the result; then the same with a lead export that renames a column on its last day, a backfill, and what receivers were told.
Needs Debian's chromium and chromium-driver, or any others on the PATH.
"""

import datetime as dt
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crm_platform_tests.alerts.received_page import page_of
from crm_platform_tests.browser import Browser, browser
from crm_platform_tests.on_call import Night, day, night
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in
from crm_platform_tests.webserver import Project, Webserver

HERE = Path(__file__).parent / "pictures"
DAYS = 45
GROUPS = ",".join(f"global@global:{name}" for name in ("landing", "history", "features", "training", "upkeep", "gate"))
PATH_OF_LEADS = (
    "landing/changes/lead",
    "landing/snapshot/lead",
    "landing/changes/activity",
    "landing/snapshot/activity",
    "history/lead",
    "history/activity",
    "history/merges",
    "current/lead",
    "features/lead",
    "training/lead_conversion",
)
"""What a lead's training rows come from: the whole graph, of four times as many assets, is too tall for a page."""
TAB = '//*[@role="tab"][contains(., "{}")]'
SHOW = '//tr[contains(., "{}")]//*[text()="[Show Markdown]"]'
"""What is pressed: a tab, and what opens a piece of Markdown in a table of metadata."""


class Camera:
    """A browser that keeps what it opens: `name, url, awaited, size, press`, as `Browser.open` has them."""

    def __init__(self, chrome: Browser) -> None:
        self.chrome = chrome

    def __call__(self, name: str, *page: Any) -> None:
        """Takes one picture."""
        self.chrome.open(*page)
        self.chrome.photograph(HERE / f"{name}.png")
        sys.stdout.write(f"{HERE / name}.png\n")


@contextmanager
def whole(folder: Path, sandbox: Path) -> Iterator[Webserver]:
    """The UI over a lake in which nothing is wrong, after one run over all days."""
    folder.mkdir()
    with sandbox_at(sandbox, days=DAYS) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        run_days(settings, FIRST, FIRST + dt.timedelta(days=DAYS - 1))
        with Project(settings) as server:
            yield server


def of_tables(server: Webserver, photograph: Camera) -> None:
    """What a lake shows in which nothing is wrong."""
    chosen = quote(" or ".join(f'key:"{key}"' for key in PATH_OF_LEADS), safe="")
    graph = f"{server.url}/asset-groups~{chosen}/?expanded={GROUPS}"
    photograph("graph", graph, "Global asset lineage", (1800, 1150))
    timeline = f"{server.url}/assets/features/lead"
    photograph("columns", f"{server.url}/assets/training/lead_conversion", "lead__count_7d", (1500, 1150))
    photograph("lineage", timeline, "columns_made_of", (1500, 1350), [SHOW.format("columns_made_of")])
    newest = f"{server.url}/assets/history/lead?view=partitions&partition={day(DAYS)}"
    photograph("over_time", newest, "over_time", (1500, 900), [SHOW.format("over_time")])
    moved = f"{timeline}?view=partitions&partition={day(DAYS)}"
    values = f"{server.url}/assets/landing/snapshot/lead?view=checks&checkDetail=value_drift"
    opened = [TAB.format("Partitions"), f'//*[text()="{day(DAYS)}"]', SHOW.format("picture")]
    photograph("value_drift", values, "value_drift", (1500, 1000), opened)
    photograph("feature_drift", moved, "drift_over_time", (1500, 1250), [SHOW.format("feature_drift_over_time")])


def of_trouble(tonight: Night, photograph: Camera, scratch: Path) -> None:
    """What whoever is on call sees: a check that fails, in which day, a backfill, and the alert."""
    server = tonight.server
    check = f"{server.url}/assets/landing/snapshot/lead?view=checks&checkDetail=schema_drift"
    photograph("checks", check, "schema_drift fails", (1500, 1060))
    red = f'//*[text()="{tonight.red}"]'
    photograph("partitions", check, "schema_drift fails", (1500, 1000), [TAB.format("Partitions"), red])
    server.backfill([["history", "lead"], ["features", "lead"]], [day(number) for number in range(20, 31)])
    photograph("backfill", f"{server.url}/runs/b/{server.newest_backfill()}", "100% completed", (1500, 700))
    page = scratch / "received.html"
    page.write_text(page_of(tonight.mails, tonight.slack, tonight.webhook), encoding="utf-8")
    photograph("alert", page.as_uri(), "One alert", (1300, 1150))


def main() -> None:
    """Runs what is to be seen, and takes every picture."""
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with browser(folder / "profile") as chrome:
            photograph = Camera(chrome)
            with whole(folder / "whole", folder / "sandbox") as server:
                of_tables(server, photograph)
            with night(folder / "red", folder / "sandbox", days=DAYS, accounts=40) as tonight:
                of_trouble(tonight, photograph, folder)


if __name__ == "__main__":
    main()
