"""The demo in a real browser: upload, enhance, look, download."""

import shutil
import urllib.request

import numpy as np
import pytest
import soundfile as sf
from helpers.demo import address, model  # noqa: F401
from helpers.small_model import SPEECH

from phasen_sb.inference.enhancer import Enhancer

pytest.importorskip("gradio")
selenium = pytest.importorskip("selenium")
if shutil.which("chromedriver") is None:
    pytest.skip("needs chromium-driver", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

NOISY = SPEECH[0]


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for option in ("headless=new", "no-sandbox", "window-size=1100,1500"):
        options.add_argument(f"--{option}")
    options.add_argument("--disable-dev-shm-usage")
    driver = webdriver.Chrome(
        options, webdriver.ChromeService(shutil.which("chromedriver"))
    )
    yield driver
    driver.quit()


def test_upload_is_enhanced_shown_and_can_be_downloaded(
    model,  # noqa: F811
    address,  # noqa: F811
    browser,
    tmp_path,
):
    def find(selector):
        return WebDriverWait(browser, 60).until(
            lambda driver: driver.find_element(By.CSS_SELECTOR, selector)
        )

    browser.get(address)
    WebDriverWait(browser, 60).until(
        lambda driver: "small_model" in driver.page_source
    )
    find("#noisy input[type=file]").send_keys(str(NOISY))
    find("#noisy a[download], #noisy #waveform, #noisy audio")
    find("#run").click()
    picture = find("#picture img")
    link = find("#enhanced a[download]").get_attribute("href")
    WebDriverWait(browser, 60).until(
        lambda driver: (
            driver.execute_script("return arguments[0].naturalWidth", picture)
            > 500
        )
    )
    assert "real-time factor" in find("#notes").text
    browser.save_screenshot(str(tmp_path / "demo.png"))
    downloaded = tmp_path / "downloaded.wav"
    urllib.request.urlretrieve(link, downloaded)
    wave, rate = sf.read(downloaded)
    expected = Enhancer.from_pretrained(model, "cpu").enhance(*sf.read(NOISY))
    assert rate == 16000
    assert np.abs(wave - expected).max() < 2 / 32768
