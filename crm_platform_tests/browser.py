"""A headless Chromium of one's own: Debian's chromium and chromium-driver, or any others on the PATH."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-quic", "no-first-run")
PATIENCE = 60
SETTLES = 8
"""Seconds that a page is given after its words have come: until edges are drawn and colours are in."""


class Browser:
    """Opens pages, says what stands on them, and takes pictures of them."""

    def __init__(self, chrome: webdriver.Chrome) -> None:
        self.chrome = chrome

    def open(self, url: str, awaited: str, size: tuple[int, int], press: Sequence[str] = ()) -> str:
        """The words of a page, once it shows the awaited ones, and after what is to be pressed was, one by one.

        Of what an XPath of `press` finds, the last is clicked.
        """
        self.chrome.set_window_size(*size)
        self.chrome.get(url)
        WebDriverWait(self.chrome, PATIENCE).until(lambda _: awaited in self.words())
        for path in press:
            found = WebDriverWait(self.chrome, PATIENCE).until(
                lambda page, path=path: page.find_elements(By.XPATH, path)
            )
            self.chrome.execute_script("arguments[0].click()", found[-1])
        time.sleep(SETTLES)
        return self.words()

    def words(self) -> str:
        """What stands on the page now."""
        return self.chrome.find_element(By.TAG_NAME, "body").text

    def photograph(self, path: Path) -> None:
        """Keeps a picture of the page."""
        self.chrome.save_screenshot(str(path))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    os.environ["SE_OFFLINE"] = os.environ["SE_AVOID_STATS"] = "true"
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield Browser(chrome)
    finally:
        chrome.quit()
