"""The blind listening test of the leaderboard's page, run by a script."""

import json

import pytest
from helpers.browser import choose, wait
from scipy.stats import binomtest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


def begin(browser, question: str, trials: int) -> None:
    choose(browser, "blind-question", question)
    field = browser.find_element(By.ID, "blind-trials")
    field.clear()
    field.send_keys(str(trials), Keys.ENTER)
    wait(browser, "return !document.getElementById('blind-trial').hidden")


def press(browser, key: str) -> None:
    ActionChains(browser).send_keys(key).perform()


def result(browser, folder) -> dict:
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(folder)},
    )
    browser.find_element(By.ID, "blind-download").click()
    path = folder / "blind_test.json"
    WebDriverWait(browser, 30).until(lambda _: path.exists())
    return json.loads(path.read_text())


def listen(browser, key: str) -> str:
    """Plays one of A, B and X until it sounds; returns what is heard."""
    press(browser, key)
    slot = {"1": "a", "2": "b", "3": "x"}[key]
    # A script's variables live on in the page, but not in its window.
    wait(browser, f"return heard.{slot} && heard.{slot}.currentTime > 0.02")
    return browser.execute_script(f"return heard.{slot}.src")


def test_abx_by_ear(browser, tmp_path):
    """A listener who hears the difference, with the keyboard alone."""
    browser.execute_script(
        "window.heard = {};"
        "const play = BlindTest.prototype.play;"
        "BlindTest.prototype.play = function (slot) {"
        "  play.call(this, slot); heard[slot] = this.players[slot]; }"
    )
    begin(browser, "abx", 6)
    for number in range(1, 7):
        progress = browser.find_element(By.ID, "blind-progress").text
        assert progress == f"Trial {number} of 6."
        # Nothing on the page tells which version is which.
        shown = browser.find_element(By.ID, "blind-trial").text
        assert "noisy" not in shown and "Sample" not in shown
        sounds = {key: listen(browser, key) for key in "123"}
        assert sounds["1"] != sounds["2"]
        press(browser, "a" if sounds["3"] == sounds["1"] else "b")
    verdict = browser.find_element(By.ID, "blind-verdict").text
    assert verdict.startswith("6 of 6 right (100 %; 95 % interval 54 % to 100")
    assert "you hear a difference" in verdict
    found = result(browser, tmp_path)
    assert found["count"] == found["trials_done"] == 6
    low, high = found["interval95"]
    assert low == pytest.approx(0.025 ** (1 / 6), abs=1e-6) and high == 1
    assert found["p_value"] == pytest.approx(0.5**6)
    names = [trial["recording"] for trial in found["trials"]]
    # Each of the two recordings comes once before it comes again.
    assert all(len(set(names[i : i + 2])) == 2 for i in (0, 2, 4))
    for trial in found["trials"]:
        assert {trial["a"], trial["b"]} == set(found["versions"])
        assert trial["plays"] == {"a": 1, "b": 1, "x": 1}


def test_x_is_drawn(browser, tmp_path):
    """A listener who always says the same is right by chance."""
    begin(browser, "abx", 40)
    for _ in range(40):
        press(browser, "a")
    found = result(browser, tmp_path)
    right = [trial["x"] == trial["a"] for trial in found["trials"]]
    assert 0 < sum(right) < 40 and found["count"] == sum(right)
    assert right == [trial["correct"] for trial in found["trials"]]


def test_preference_and_an_early_end(browser, tmp_path):
    begin(browser, "prefer", 40)
    assert not browser.find_element(
        By.CSS_SELECTOR, "[data-play=x]"
    ).is_displayed()
    for _ in range(30):
        press(browser, "a")
    press(browser, Keys.ESCAPE)
    verdict = browser.find_element(By.ID, "blind-verdict").text
    assert "ended after 30 of 40" in verdict
    found = result(browser, tmp_path)
    first = [t["a"] for t in found["trials"]]
    assert [t["answer"] for t in found["trials"]] == first
    # The order of A and B is drawn: the same side is not the same version.
    count = first.count(found["versions"][0])
    assert 0 < count < 30 and count == found["count"]
    interval = binomtest(count, 30).proportion_ci(0.95, "exact")
    assert found["interval95"] == pytest.approx([*interval], abs=1e-6)
    assert found["p_value"] == pytest.approx(
        min(1, 2 * binomtest(max(count, 30 - count), 30, 0.5, "greater").pvalue)
    )


def test_a_version_is_not_compared_with_itself(browser):
    choose(browser, "blind-other", "Sample")
    browser.find_element(By.CSS_SELECTOR, "#blind-setup [type=submit]").click()
    assert not browser.find_element(By.ID, "blind-trial").is_displayed()
    invalid = browser.execute_script(
        "return byId('blind-one').validationMessage"
    )
    assert invalid == "Choose two different versions."
    choose(browser, "blind-other", "noisy")
