"""Chromium without a window, driven by selenium."""

import shutil
from contextlib import contextmanager

import pytest

FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync
--mute-audio --autoplay-policy=no-user-gesture-required
""".split()


@contextmanager
def chromium(profile, *flags):
    """A browser; the test is skipped where it, or selenium, is missing."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed"
    )
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    names = "chromium", "chromium-browser", "google-chrome"
    program = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in [*FLAGS, f"--user-data-dir={profile}", *flags]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=service.Service(driver))
    try:
        browser.set_window_size(1300, 1000)
        yield browser
    finally:
        browser.quit()
