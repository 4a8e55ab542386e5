"""The leaderboard's page, used in a real browser."""

import csv

import pytest
from helpers.browser import choose, column, drawn, sort_by, wait
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


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
        "scrollTo(0, scrollY + document.querySelector('#board')"
        ".getBoundingClientRect().top)"
    )
    browser.execute_script(
        "document.querySelector('#board thead [data-key=stoi]').focus()"
    )
    # What has the focus is not hidden by the filters.
    assert browser.execute_script(
        "const box = document.activeElement.getBoundingClientRect();"
        "return document.activeElement === document.elementFromPoint("
        "box.x + box.width / 2, box.y + box.height / 2)"
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
