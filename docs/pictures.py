"""Photographs the Dagster UI for the docs, in headless Chromium: `python docs/pictures.py URL`.

The UI must be running (`make dev`) and have something to show (`make demo`). Needs Debian's chromium and
chromium-driver, or any others on the PATH.
"""

import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

HERE = Path(__file__).parent / "pictures"
PAGES = {
    "graph": ("/asset-groups?expanded=features,history,landing,training", "features"),
    "checks": ("/assets/landing/snapshot/lead?view=checks&checkDetail=schema_drift", "schema_drift"),
    "backfills": ("/runs?view=backfills", "Backfill"),
}


def browser(folder: str) -> webdriver.Chrome:
    """A headless Chromium with a profile of its own."""
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
    options.add_argument("--window-size=1680,1050")
    return webdriver.Chrome(options=options)


def main(url: str) -> None:
    """Takes every picture once its page shows what it must."""
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        chrome = browser(folder)
        try:
            for name, (path, awaited) in PAGES.items():
                chrome.get(url + path)
                shows = WebDriverWait(chrome, 60)
                shows.until(
                    lambda page, words=awaited: any(
                        word in page.find_element(By.TAG_NAME, "body").text for word in words.split("|")
                    )
                )
                chrome.implicitly_wait(6)
                chrome.find_elements(By.CSS_SELECTOR, ".no-such-thing")  # lets the page settle for six seconds
                chrome.implicitly_wait(0)
                chrome.save_screenshot(str(HERE / f"{name}.png"))
                sys.stdout.write(f"{HERE / name}.png\n")
        finally:
            chrome.quit()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000")
