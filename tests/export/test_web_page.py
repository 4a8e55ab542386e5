"""The page enhances a microphone and a file as StreamingEnhancer does."""

import base64
import io
import os
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.causal_model import write_live_model
from helpers.chromium import chromium

from phasen_sb import StreamingEnhancer
from phasen_sb.cli import main
from phasen_sb.data.sample_corpus import sample_corpus

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

ROOT = Path(__file__).parents[2]
FETCH = """
const done = arguments[1];
const reader = new FileReader();
reader.onload = () => done(reader.result.split(",")[1]);
fetch(document.getElementById(arguments[0]).href)
  .then(answer => answer.blob()).then(blob => reader.readAsDataURL(blob));
"""
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), c => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "speech.wav"));
document.dispatchEvent(new DragEvent("drop", {dataTransfer: data}));
"""


def node_modules():
    """Where npm installed onnxruntime-web."""
    folders = [ROOT / "node_modules"]
    if os.environ.get("NODE_PATH"):
        folders += map(Path, os.environ["NODE_PATH"].split(os.pathsep))
    if shutil.which("npm"):
        answer = subprocess.run(
            ["npm", "root", "-g"], capture_output=True, text=True
        )
        folders.append(Path(answer.stdout.strip()))
    for folder in folders:
        if (folder / "onnxruntime-web").is_dir():
            return folder
    pytest.skip("needs onnxruntime-web: npm install onnxruntime-web")


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = sample_corpus() / "noisy_testset_wav_16k" / "p232_001.flac"
    target = tmp_path_factory.mktemp("speech") / "speech.wav"
    samples, rate = sf.read(path)
    # As devices often have it.
    sf.write(target, np.repeat(samples, 3), 3 * rate, subtype="PCM_16")
    return target


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    write_live_model(folder / "model")
    weights = folder / "model" / "model.ckpt"
    state = torch.load(weights)
    # So that what comes out is much softer.
    state["network.amplitude_head.dense.4.bias"].fill_(-4.0)
    torch.save(state, weights)
    arguments = ["export", str(folder / "model"), str(folder / "out")]
    assert main([*arguments, "--web", str(node_modules())]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def page(model, speech, tmp_path_factory):
    handler = partial(Handler, directory=model / "web")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with chromium(
        tmp_path_factory.mktemp("profile"),
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={speech}",
    ) as browser:
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        try:
            yield browser
            assert browser.get_log("browser") == []
        finally:
            server.shutdown()


def click(page, name):
    page.find_element(By.ID, name).click()


def text(page, name):
    return page.find_element(By.ID, name).text


def wait(page, condition):
    WebDriverWait(page, 60).until(lambda _: condition())


def levels(page):
    """In and out (dB), at least -60."""
    return [
        page.find_element(By.ID, name).get_property("value")
        for name in ("level-in", "level-out")
    ]


def recording(page, name):
    wav = base64.b64decode(page.execute_async_script(FETCH, name))
    samples, rate = sf.read(io.BytesIO(wav), dtype="float32")
    assert rate == 16000
    return samples


def compare_recordings(page, model):
    """What was recorded from the beginning, later by the model's delay."""
    stream = StreamingEnhancer.from_pretrained(
        model, block_samples=256, engine="pytorch"
    )
    noisy, out = (recording(page, name) for name in ("noisy", "enhanced"))
    delay = stream.delay
    assert len(noisy) > 16000 and np.abs(noisy).max() > 0.02
    assert not noisy[:delay].any() and not out[:delay].any()
    expected = stream.process(noisy[delay:])
    # What comes after the noisy end is not recorded.
    assert np.abs(expected - noisy[: len(expected)]).max() > 0.02
    assert np.abs(out[: len(expected)] - expected).max() < 1e-4
    return noisy[delay:]


def test_microphone(page, model):
    wait(page, lambda: text(page, "status") == "Ready.")
    click(page, "record")
    click(page, "microphone")
    wait(page, lambda: text(page, "status") == "The microphone is on.")
    wait(page, lambda: "%" in text(page, "load"))
    assert "48 ms" in text(page, "latency")
    wait(page, lambda: levels(page)[0] > -45 > levels(page)[1])
    click(page, "on")  # off
    wait(page, lambda: min(levels(page)) > -40)
    click(page, "on")
    page.execute_async_script("setTimeout(arguments[0], 1000)")
    click(page, "stop")
    click(page, "record")
    compare_recordings(page, model)
    assert text(page, "status") == "Stopped."


def test_dropped_file(page, model, speech):
    click(page, "record")
    data = base64.b64encode(speech.read_bytes()).decode()
    page.execute_script(DROP, data)
    wait(page, lambda: text(page, "status") == "Playing speech.wav")
    wait(page, lambda: text(page, "status") == "Stopped.")
    click(page, "record")
    noisy = compare_recordings(page, model)
    samples, _ = sf.read(speech)
    assert len(noisy) > len(samples) // 3  # the whole file


def test_no_sound_is_named(page):
    page.execute_script(DROP, base64.b64encode(b"no sound").decode())
    wait(page, lambda: "speech.wav is no sound" in text(page, "warning"))


def test_narrow_screens_do_not_scroll_sideways(page):
    page.set_window_size(360, 800)
    width = page.execute_script("return document.body.scrollWidth")
    assert width <= page.execute_script("return innerWidth")
