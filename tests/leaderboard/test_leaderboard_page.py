"""The leaderboard's page, used in a real browser."""

import shutil

import pytest
from helpers import leaderboard_runs

from phasen_sb.cli import main

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed"
)
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

FLAGS = """
--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync
--mute-audio --autoplay-policy=no-user-gesture-required
""".split()


def _find(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
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
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        browser.set_window_size(1300, 1000)
        browser.get((folder / "leaderboard.html").as_uri())
        yield browser
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


@pytest.fixture(autouse=True)
def reset(browser):
    browser.execute_script("document.getElementById('filters').reset()")
    wait(browser, "return document.getElementById('kind').value === ''")
    yield


def wait(browser, script: str) -> None:
    WebDriverWait(browser, 60).until(lambda b: b.execute_script(script))


def column(browser, key: str) -> list[str]:
    """What the visible rows hold in one column, from top to bottom."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#board tbody tr:not([hidden])')]"
        ".map(row => row.querySelector(`[data-key='${arguments[0]}']`)"
        ".dataset.value)",
        key,
    )


def choose(browser, field: str, value: str) -> None:
    Select(browser.find_element(By.ID, field)).select_by_value(value)


def drawn(browser) -> list[str]:
    return browser.execute_script(
        "return plot.data.datasets.flatMap(d => d.data.map(p => p.point.name))"
    )


def sort_by(browser, key: str) -> None:
    browser.find_element(
        By.CSS_SELECTOR, f"#board thead button[data-key={key}]"
    ).click()


@pytest.mark.parametrize("key", ["csig", "parameters", "si_sdr"])
def test_sorts_numbers_with_unknown_ones_last(browser, key):
    first_falls = key not in ("parameters", "macs")
    for falls in (first_falls, not first_falls):
        sort_by(browser, key)
        values = column(browser, key)
        known = [float(value) for value in values if value]
        assert len(known) > 10
        assert values[len(known) :] == [""] * (len(values) - len(known))
        assert known == sorted(known, reverse=falls)
    header = browser.find_element(By.CSS_SELECTOR, "#board th[aria-sort]")
    assert (
        header.find_element(By.TAG_NAME, "button").get_attribute("data-key")
        == key
    )


def test_sorts_names(browser):
    sort_by(browser, "name")
    names = column(browser, "name")
    assert names.index("Deep Xi-MHANet 1.1c") < names.index("PHASEN")
    assert names.index("PHASEN") < names.index("xLSTM-SENet")


def test_filters(browser):
    everything = column(browser, "name")
    assert {"Sample", "Ours", "PHASEN"} <= set(everything)
    choose(browser, "causal", "yes")
    assert set(column(browser, "causal")) == {"yes"}
    choose(browser, "size", "0,1")
    sizes = column(browser, "parameters")
    assert sizes and all(0 < float(size) <= 1 for size in sizes)
    assert "S3G-Net" in column(browser, "name")
    choose(browser, "optimised", "no")
    names = column(browser, "name")
    assert "GTCRN" in names and "S3G-Net" not in names
    # The plot follows.
    assert "GTCRN" in drawn(browser) and "S3G-Net" not in drawn(browser)
    browser.find_element(By.CSS_SELECTOR, "#filters button").click()
    wait(browser, "return document.getElementById('causal').value === ''")
    assert sorted(column(browser, "name")) == sorted(everything)
    browser.find_element(By.ID, "search").send_keys("IMLHF phasen")
    assert set(column(browser, "name")) == {"PHASEN", "Noisy input"}


def test_retracted_and_incomparable_results_can_be_told_apart(browser):
    retracted = "return document.querySelector('tr.retracted').hidden"
    assert browser.execute_script(retracted)
    choose(browser, "kind", "all")
    assert not browser.execute_script(retracted)
    choose(browser, "kind", "comparable")
    names = column(browser, "name")
    assert "Ours" in names and "Sample" not in names
    choose(browser, "kind", "ours")
    assert "Noisy input of Ours" in column(browser, "name")
    assert len(column(browser, "name")) == 4


def hover(browser, name: str) -> list[str]:
    """Points the mouse at a system in the plot; returns what pops up."""
    x, y = browser.execute_script(
        "const canvas = document.getElementById('plot');"
        "canvas.scrollIntoView({block: 'center'});"
        "for (const [i, d] of plot.data.datasets.entries())"
        "  for (const [j, p] of d.data.entries())"
        "    if (p.point.name === arguments[0]) {"
        "      const mark = plot.getDatasetMeta(i).data[j];"
        "      return [mark.x - canvas.clientWidth / 2,"
        "              mark.y - canvas.clientHeight / 2];"
        "    }",
        name,
    )
    canvas = browser.find_element(By.ID, "plot")
    ActionChains(browser).move_to_element_with_offset(
        canvas, round(x), round(y)
    ).perform()
    wait(browser, "return plot.tooltip.opacity === 1")
    return browser.execute_script(
        "return plot.tooltip.body.flatMap(part => part.lines)"
    )


def test_plot_shows_names_and_intervals(browser):
    choose(browser, "kind", "ours")
    lines = hover(browser, "Ours")
    assert lines[0] == "Ours"
    assert any(
        line.startswith("PESQ-wb 2.9") and "[2." in line for line in lines
    )
    assert "34.9 M parameters" in lines
    assert any(
        "not" in line or "files" in line for line in hover(browser, "Sample")
    )
    choose(browser, "x", "macs")
    assert "74.2 GMAC/s" in hover(browser, "Ours")
    choose(browser, "y", "stoi")
    assert drawn(browser) == ["Sample"]
    choose(browser, "y", "pesq_wb")
    choose(browser, "x", "parameters")


def test_plot_paints_an_interval(browser):
    choose(browser, "kind", "comparable")
    painted = browser.execute_script(
        """
        const set = plot.data.datasets.find(d => d.label === "measured here");
        const {x, interval} = set.data[0];
        const ratio = plot.currentDevicePixelRatio;
        const mean = plot.scales.y.getPixelForValue(set.data[0].y);
        const across = plot.scales.x.getPixelForValue(x);
        // Between the whisker's end and the mark, else at its end.
        const end = plot.scales.y.getPixelForValue(interval[1]);
        const strip = plot.ctx.getImageData(
            across * ratio, end * ratio, 40, 1).data;
        return [[...strip.slice(0, 3)], [...strip.slice(-4, -1)], mean - end];
        """
    )
    whisker, ground, height = painted
    red, green, blue = whisker
    assert red > green + 50 and red > blue + 50
    assert ground != whisker and height > 0


def test_plays_and_switches_where_it_was(browser):
    wait(
        browser,
        "return [...document.querySelectorAll('audio')]"
        ".every(player => player.duration > 1)",
    )
    browser.execute_script("document.querySelector('audio').play()")
    wait(browser, "return document.querySelector('audio').currentTime > 0.3")
    browser.execute_script("document.querySelectorAll('audio')[1].play()")
    wait(
        browser, "return document.querySelectorAll('audio')[1].currentTime > .3"
    )
    assert browser.execute_script(
        "return document.querySelector('audio').paused"
    )
    picture = browser.find_elements(By.CSS_SELECTOR, ".picture")[2]
    ActionChains(browser).scroll_to_element(picture).click(picture).perform()
    middle = browser.execute_script(
        "const a = document.querySelectorAll('audio')[2];"
        "return a.currentTime / a.duration"
    )
    assert middle == pytest.approx(0.5, abs=0.02)
    browser.execute_script("document.querySelectorAll('audio')[1].pause()")
    loaded = browser.execute_script(
        "return [...document.querySelectorAll('.picture img')]"
        ".map(image => image.naturalWidth)"
    )
    assert len(loaded) == 6 and min(loaded) > 100


def test_loads_nothing_and_fits_a_phone(browser):
    fetched = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
        ".filter(name => !name.startsWith('data:'))"
    )
    assert fetched == []
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 2}
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", phone | {"mobile": True}
    )
    wait(browser, "return innerWidth === 360")
    width = "return document.documentElement.scrollWidth"
    assert browser.execute_script(width) == 360
    wait(browser, "return plot.width > 250 && plot.width < 360")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
