"""The leaderboard's page, used in a real browser."""

import csv
import json
import shutil

import pytest
from helpers import leaderboard_runs
from scipy.stats import binomtest

from phasen_sb.cli import main

webdriver = pytest.importorskip(
    "selenium.webdriver", reason="selenium is not installed"
)
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
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
        "return [...document.querySelectorAll("
        "'#board [data-row]:not([hidden])')]"
        ".map(row => row.querySelector(`[data-key='${arguments[0]}']`)"
        ".dataset.value)",
        key,
    )


def choose(browser, field: str, value: str) -> None:
    Select(browser.find_element(By.ID, field)).select_by_value(value)


def drawn(browser) -> list[str]:
    return browser.execute_script(
        "return plot.data.datasets.filter(d => !d.front)"
        ".flatMap(d => d.data.map(p => p.point.name))"
    )


def sort_by(browser, key: str) -> None:
    browser.find_element(
        By.CSS_SELECTOR, f"#board thead button[data-key={key}]"
    ).click()


@pytest.mark.parametrize("key", ["csig", "parameters", "si_sdr"])
def test_sorts_numbers_with_unknown_ones_last(browser, key):
    first_falls = key not in ("parameters", "macs")
    choose(browser, "optimised", "together")
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
    choose(browser, "optimised", "together")
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
    choose(browser, "checked", "second hand")
    assert "GTCRN" not in column(browser, "name")
    choose(browser, "checked", "source read")
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
    names = column(browser, "name")
    assert {"Noisy input of Ours", "phasen_sb, default model"} <= set(names)
    assert len(names) == 8


def test_metric_optimised_rows_are_ranked_apart(browser):
    def scores(name: str) -> list[float]:
        return browser.execute_script(
            """
            const found = [];
            let row = document.querySelector(`[data-heading=${arguments[0]}]`);
            if (row.hidden) return null;
            while ((row = row.nextElementSibling) && row.dataset.row)
                if (!row.hidden) found.push(
                    [row.dataset.optimised,
                     row.querySelector("[data-key=pesq_wb]").dataset.value]);
            return found;
            """,
            name,
        )

    for name, optimised in (("plain", "no"), ("optimised", "yes")):
        group = scores(name)
        assert len(group) > 50 and {kind for kind, _ in group} == {optimised}
        values = [float(score) for _, score in group if score]
        assert values == sorted(values, reverse=True)
    choose(browser, "optimised", "together")
    assert scores("plain") is None and scores("optimised") is None
    together = [float(value) for value in column(browser, "pesq_wb") if value]
    assert together == sorted(together, reverse=True)


@pytest.mark.parametrize("x", ["parameters", "macs", "latency"])
def test_pareto_fronts(browser, x):
    choose(browser, "x", x)
    fronts = browser.execute_script(
        "return plot.data.datasets.filter(d => d.front)"
        ".map(d => d.data.map(p => [p.point.optimised, p.x, p.y]))"
    )
    points = browser.execute_script(
        "return plot.data.datasets.filter(d => !d.front).flatMap(d => d.data)"
        ".filter(p => p.point.group !== 'elsewhere')"
        ".map(p => [p.point.optimised, p.x, p.y])"
    )
    assert len(fronts) == 2
    for front, optimised in zip(fronts, (False, True), strict=True):
        group = {(x, y) for kind, x, y in points if kind == optimised}
        best = {
            (x, y)
            for x, y in group
            if not any(
                (a <= x and b >= y) and (a, b) != (x, y) for a, b in group
            )
        }
        assert {(x, y) for _, x, y in front} == best
        assert {kind for kind, *_ in front} == {optimised}
    choose(browser, "x", "parameters")


def test_a_view_can_be_linked(browser):
    choose(browser, "causal", "yes")
    choose(browser, "y", "stoi")
    sort_by(browser, "parameters")
    browser.find_element(By.ID, "search").send_keys("enhancer & co")
    address = browser.current_url
    assert "#search=enhancer+%26+co&causal=yes&y=stoi&sort=parameters%2B" in (
        address
    )
    browser.find_element(By.ID, "search").clear()
    browser.find_element(By.ID, "search").send_keys("fastenhancer")
    shown = column(browser, "name")
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert len(shown) >= 6 and column(browser, "name") == shown
    assert browser.execute_script("return byId('y').value") == "stoi"
    sizes = [float(size) for size in column(browser, "parameters")]
    assert sizes == sorted(sizes)
    # What is no choice is left alone.
    browser.execute_script(
        "location.hash = '#causal=maybe&sort=none-&kind=all'"
    )
    wait(browser, "return document.getElementById('kind').value === 'all'")
    assert browser.execute_script("return byId('causal').value") == ""
    browser.execute_script("location.hash = '#listen'")
    wait(browser, "return byId('kind').value === ''")
    assert browser.current_url.endswith("#listen")


def test_csv_of_what_is_shown(browser, tmp_path):
    browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(tmp_path)},
    )
    choose(browser, "optimised", "yes")
    browser.find_element(By.ID, "download").click()
    path = tmp_path / "leaderboard.csv"
    WebDriverWait(browser, 30).until(lambda _: path.exists())
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == column(browser, "name")
    [ours] = [row for row in rows if row["kind"] == "Our model, zero-shot"]
    assert ours["training_data"] == "open corpus"


def test_everything_can_be_done_with_the_keyboard(browser):
    keys = ActionChains(browser)
    browser.execute_script("document.getElementById('search').focus()")
    keys.send_keys(Keys.TAB, "yes", Keys.TAB).perform()
    assert set(column(browser, "causal")) == {"yes"}
    browser.execute_script("document.getElementById('plot').focus()")
    ActionChains(browser).send_keys(Keys.HOME, Keys.ARROW_RIGHT).perform()
    text = browser.find_element(By.ID, "pointed").text
    sizes = sorted(float(s) for s in column(browser, "parameters") if s)
    assert f"{sizes[1]:.3g} M parameters" in text
    browser.execute_script(
        "document.querySelector('#board thead [data-key=stoi]').focus()"
    )
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    plain = browser.execute_script(
        "return [...document.querySelectorAll("
        "'[data-optimised=no]:not([hidden]) [data-key=stoi]')]"
        ".map(cell => cell.dataset.value).filter(Boolean).map(Number)"
    )
    assert plain == sorted(plain, reverse=True)


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
    assert drawn(browser) == ["phasen_sb, default model", "Sample"]
    choose(browser, "y", "pesq_wb")
    choose(browser, "x", "parameters")


def test_plot_paints_an_interval(browser):
    choose(browser, "kind", "comparable")
    painted = browser.execute_script(
        """
        const set = plot.data.datasets.find(d => d.label === "measured here");
        set.data.sort((a, b) => b.x - a.x);
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


# ----------------------------------------------------------------- blind test


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
