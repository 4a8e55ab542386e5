"""What a reader of the leaderboard's page does in a browser."""

import pytest

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402


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
    header = browser.find_element(
        By.CSS_SELECTOR, f"#board thead button[data-key={key}]"
    )
    # Not under the filters, which stay at the top.
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center'})", header
    )
    header.click()
