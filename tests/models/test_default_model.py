"""The model that ships: loads alone, helps, and does no harm."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf
import torch

from phasen_sb import Enhancer, PhasenEnhancer
from phasen_sb.data import sample_corpus
from phasen_sb.metrics import pesq, si_sdr
from phasen_sb.models.loading import DEFAULT_MODEL

CLEAN = sorted((sample_corpus() / "clean_testset_wav_16k").glob("*.flac"))
RATE = 16000

ALONE = """
import socket, sys
def refuse(*args, **kwargs):
    raise OSError("the network was used")
socket.socket.connect = socket.getaddrinfo = refuse
from phasen_sb.cli import main
sys.exit(main(["enhance", sys.argv[1], "-o", sys.argv[2]]))
"""


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained(device="cpu", precision="fp32")


def noisy_of(path):
    folder = sample_corpus() / "noisy_testset_wav_16k"
    return sf.read(folder / path.name, dtype="float32")[0]


def decibels(wave):
    return 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20)


def test_command_enhances_without_a_model_or_a_network(tmp_path):
    noisy = sample_corpus() / "noisy_testset_wav_16k" / CLEAN[0].name
    target = tmp_path / "enhanced.flac"
    subprocess.run([sys.executable, "-c", ALONE, noisy, target], check=True)
    assert sf.info(target).frames == sf.info(noisy).frames


def test_it_is_small_and_has_a_card():
    weights = DEFAULT_MODEL / "model.ckpt"
    assert weights.stat().st_size < 25e6
    card = (DEFAULT_MODEL / "README.md").read_text()
    for heading in ("Scores", "Training data", "Limits", "Licence", "Retrain"):
        assert f"## {heading}" in card
    assert PhasenEnhancer.from_pretrained().network.n_bins == 257


def test_it_helps(enhancer):
    gains = []
    for path in CLEAN:
        clean, noisy = sf.read(path, dtype="float32")[0], noisy_of(path)
        ours = enhancer.enhance(noisy, RATE)
        gains.append(
            [
                pesq(clean, ours) - pesq(clean, noisy),
                si_sdr(clean, ours) - si_sdr(clean, noisy),
            ]
        )
    assert np.all(np.mean(gains, 0) > [0.5, 3.0])


def test_clean_speech_stays_as_it_is(enhancer):
    scores, levels = [], []
    for path in CLEAN:
        clean, _ = sf.read(path, dtype="float32")
        ours = enhancer.enhance(clean, RATE)
        scores.append(pesq(clean, ours))
        levels.append(abs(decibels(ours) - decibels(clean)))
    assert np.mean(scores) >= 4.0 and max(levels) < 0.5


def test_silence_stays_silence_and_noise_gets_no_louder(enhancer):
    assert not enhancer.enhance(np.zeros(RATE), RATE).any()
    noise = np.random.default_rng(0).standard_normal(3 * RATE)
    for level in (1e-4, 0.1):
        ours = enhancer.enhance(level * noise, RATE)
        assert decibels(ours) < decibels(level * noise)


def test_it_can_be_trained_on():
    model = PhasenEnhancer.from_pretrained()
    wave, _ = model(torch.randn(1, 4000))
    wave.square().mean().backward()
    assert all(p.grad is not None for p in model.network.parameters())
