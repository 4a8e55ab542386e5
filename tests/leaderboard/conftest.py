"""The leaderboard's page in a real browser."""

import shutil

import pytest
from helpers import leaderboard_runs

from phasen_sb.cli import main

FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync
--mute-audio --autoplay-policy=no-user-gesture-required
""".split()


def _find(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def whole_page(tmp_path_factory):
    """A browser with the page of two runs, as its users left it."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed"
    )
    service = pytest.importorskip("selenium.webdriver.chrome.service")
    chromium = _find("chromium", "chromium-browser", "google-chrome")
    driver = _find("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver on the PATH")
    folder = tmp_path_factory.mktemp("page")
    base = tmp_path_factory.getbasetemp()
    runs = [f"Sample={leaderboard_runs.training_run(base)}"]
    runs += [f"Ours={leaderboard_runs.voicebank_run(base)}"]
    assert main(["leaderboard", "--runs", *runs, "--out", str(folder)]) == 0
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in [*FLAGS, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=service.Service(driver))
    try:
        browser.set_window_size(1300, 1000)
        browser.get((folder / "leaderboard.html").as_uri())
        yield browser
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


@pytest.fixture
def browser(whole_page):
    """The same with all choices at their first values."""
    whole_page.execute_script("document.getElementById('filters').reset()")
    # After what the page does when it is idle.
    whole_page.execute_async_script("setTimeout(arguments[0], 50)")
    return whole_page
