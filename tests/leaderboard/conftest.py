"""The leaderboard's page in a real browser."""

import pytest
from helpers import leaderboard_runs
from helpers.chromium import chromium

from phasen_sb.cli import main


@pytest.fixture(scope="session")
def whole_page(tmp_path_factory):
    """A browser with the page of two runs, as its users left it."""
    folder = tmp_path_factory.mktemp("page")
    base = tmp_path_factory.getbasetemp()
    with chromium(folder / "profile") as browser:
        runs = [f"Sample={leaderboard_runs.training_run(base)}"]
        runs += [f"Ours={leaderboard_runs.voicebank_run(base)}"]
        arguments = ["leaderboard", "--runs", *runs, "--out", str(folder)]
        assert main(arguments) == 0
        browser.get((folder / "leaderboard.html").as_uri())
        yield browser
        assert browser.get_log("browser") == []


@pytest.fixture
def browser(whole_page):
    """The same with all choices at their first values."""
    whole_page.execute_script("document.getElementById('filters').reset()")
    # After what the page does when it is idle.
    whole_page.execute_async_script("setTimeout(arguments[0], 50)")
    return whole_page
