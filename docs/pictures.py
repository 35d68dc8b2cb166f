"""Photographs the Dagster UI for the docs, in headless Chromium: `make pictures`.

Everything that is photographed is made here, in a temporary folder: a small sandbox CRM whose lead export renames a column
on one day, one run over all days, `dagster dev` over the result, a backfill. Needs Debian's chromium and chromium-driver,
or any others on the PATH.
"""

import datetime as dt
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in
from crm_platform_tests.webserver import Webserver

HERE = Path(__file__).parent / "pictures"
DAYS, RED = 45, 34
RENAMED = {"schema_change": {"object": "lead", "day": FIRST + dt.timedelta(days=RED), "rename": {"source": "origin"}}}
GROUPS = ",".join(f"global@global:{name}" for name in ("landing", "history", "features", "training", "maintenance"))
SETTLES = 8
"""Seconds that a page is given after its words have come: until edges are drawn and colours are in."""

Size = tuple[int, int]
WIDE: Size = (1400, 900)


def browser(folder: str) -> webdriver.Chrome:
    """A headless Chromium with a profile of its own; it and its driver are those on the PATH."""
    options = webdriver.ChromeOptions()
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-quic", "no-first-run"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={folder}")
    os.environ["SE_OFFLINE"] = os.environ["SE_AVOID_STATS"] = "true"
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def photograph(chrome: webdriver.Chrome, name: str, url: str, awaited: str, size: Size = WIDE, click: str = "") -> None:
    """Takes a picture of a page once it shows some words, after a click on the element of that text if one is named."""
    chrome.set_window_size(*size)
    chrome.get(url)
    shows = WebDriverWait(chrome, 60)
    shows.until(lambda page: awaited in page.find_element(By.TAG_NAME, "body").text)
    time.sleep(SETTLES)
    if click:
        chrome.find_element(By.XPATH, f"//*[text()='{click}']").click()
        time.sleep(1)
    chrome.save_screenshot(str(HERE / f"{name}.png"))
    sys.stdout.write(f"{HERE / name}.png\n")


def main() -> None:
    """Runs what is to be seen, and takes every picture."""
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with sandbox_at(folder / "sandbox", days=DAYS) as base_url:
            settings = settings_in(folder, base_url, DAYS)
            run_days(settings, FIRST, settings.last_day or FIRST)
            with Webserver(settings) as server:
                chrome = browser(str(folder / "profile"))
                try:
                    photograph(
                        chrome,
                        "graph",
                        f"{server.url}/asset-groups?expanded={GROUPS}",
                        "lead_conversion",
                        (2600, 2000),
                    )
                finally:
                    chrome.quit()
        with sandbox_at(folder / "sandbox", days=DAYS, faults=RENAMED) as base_url:
            red = folder / "red"
            red.mkdir()
            settings = settings_in(red, base_url, DAYS)
            run_days(settings, FIRST, settings.last_day or FIRST)
            with Webserver(settings) as server:
                days = [(FIRST + dt.timedelta(days=day)).isoformat() for day in range(19, 30)]
                server.backfill([["history", "lead"], ["features", "lead"]], days)
                chrome = browser(str(folder / "profile"))
                try:
                    check = "/assets/landing/snapshot/lead?view=checks&checkDetail=schema_drift"
                    photograph(chrome, "checks", server.url + check, "schema_drift fails", click="[Show Markdown]")
                    photograph(chrome, "backfills", f"{server.url}/runs?view=backfills", "partitions", (1400, 420))
                finally:
                    chrome.quit()


if __name__ == "__main__":
    main()
