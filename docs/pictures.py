"""Photographs the Dagster UI for the docs, in headless Chromium: `make pictures`.

Everything that is photographed is made here, in a temporary folder: a small sandbox CRM whose lead export renames a column
on its last day, one run over all days, `dagster dev` over the result, a backfill. Needs Debian's chromium and chromium-driver,
or any others on the PATH.
"""

import datetime as dt
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in
from crm_platform_tests.webserver import Webserver

HERE = Path(__file__).parent / "pictures"
DAYS = 45
RENAMED = {
    "schema_change": {"object": "lead", "day": FIRST + dt.timedelta(days=DAYS - 1), "rename": {"source": "origin"}}
}
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

SETTLES = 8
"""Seconds that a page is given after its words have come: until edges are drawn and colours are in."""


def browser(folder: str) -> webdriver.Chrome:
    """A headless Chromium with a profile of its own; it and its driver are those on the PATH."""
    options = webdriver.ChromeOptions()
    for flag in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-background-networking",
        "disable-quic",
        "no-first-run",
    ):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={folder}")
    os.environ["SE_OFFLINE"] = os.environ["SE_AVOID_STATS"] = "true"
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


@contextmanager
def camera(folder: Path) -> Iterator[Callable[..., None]]:
    """Opens a browser, and gives what takes a picture with it: `name, url, awaited, size, press`.

    A page counts as there once it shows the awaited words. What `press` finds, the last of it if there are several, is
    clicked before the picture is taken.
    """
    chrome = browser(str(folder))

    def photograph(name: str, url: str, awaited: str, size: tuple[int, int], press: str | None = None) -> None:
        chrome.set_window_size(*size)
        chrome.get(url)
        WebDriverWait(chrome, 60).until(lambda page: awaited in page.find_element(By.TAG_NAME, "body").text)
        if press is not None:
            found = WebDriverWait(chrome, 60).until(lambda page: page.find_elements(By.XPATH, press))
            chrome.execute_script("arguments[0].click()", found[-1])
        time.sleep(SETTLES)
        chrome.save_screenshot(str(HERE / f"{name}.png"))
        sys.stdout.write(f"{HERE / name}.png\n")

    try:
        yield photograph
    finally:
        chrome.quit()


@contextmanager
def opened(folder: Path, sandbox: Path, **faults: object) -> Iterator[Webserver]:
    """The UI over a lake of its own, after one run over all days."""
    folder.mkdir()
    with sandbox_at(sandbox, days=DAYS, **faults) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        run_days(settings, FIRST, FIRST + dt.timedelta(days=DAYS - 1))
        with Webserver(settings) as server:
            yield server


def of_tables(server: Webserver, photograph: Callable[..., None]) -> None:
    """What a lake shows in which nothing is wrong."""
    chosen = quote(" or ".join(f'key:"{key}"' for key in PATH_OF_LEADS), safe="")
    graph = f"{server.url}/asset-groups~{chosen}/?expanded={GROUPS}"
    photograph("graph", graph, "Global asset lineage", (1800, 1150))
    timeline = f"{server.url}/assets/features/lead"
    photograph("columns", f"{server.url}/assets/training/lead_conversion", "lead__count_7d", (1500, 1150))
    photograph("lineage", timeline, "columns_made_of", (1500, 1350), SHOW.format("columns_made_of"))
    newest = f"{server.url}/assets/history/lead?view=partitions&partition={day(DAYS)}"
    photograph("over_time", newest, "over_time", (1500, 900), SHOW.format("over_time"))
    moved = f"{timeline}?view=partitions&partition={day(DAYS)}"
    photograph("feature_drift", moved, "drift_over_time", (1500, 1250), SHOW.format("feature_drift_over_time"))


def of_trouble(server: Webserver, photograph: Callable[..., None]) -> None:
    """What whoever is on call sees: a check that fails, in which day, and a backfill."""
    check = f"{server.url}/assets/landing/snapshot/lead?view=checks&checkDetail=schema_drift"
    photograph("checks", check, "schema_drift fails", (1500, 1000))
    photograph("partitions", check, "schema_drift fails", (1500, 900), TAB.format("Partitions"))
    server.backfill([["history", "lead"], ["features", "lead"]], [day(number) for number in range(20, 31)])
    photograph("backfill", f"{server.url}/runs/b/{server.newest_backfill()}", "100% completed", (1500, 700))


def day(number: int) -> str:
    """The key of a day, the first of which is 1."""
    return (FIRST + dt.timedelta(days=number - 1)).isoformat()


def main() -> None:
    """Runs what is to be seen, and takes every picture."""
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with camera(folder / "profile") as photograph:
            with opened(folder / "whole", folder / "sandbox") as server:
                of_tables(server, photograph)
            with opened(folder / "red", folder / "sandbox", faults=RENAMED) as server:
                of_trouble(server, photograph)


if __name__ == "__main__":
    main()
