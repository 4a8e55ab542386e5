"""The causal model that ships: streams, helps, and does no harm."""

import subprocess

import numpy as np
import pytest
import soundfile as sf

from phasen_sb import Enhancer, StreamingEnhancer
from phasen_sb.data import sample_corpus
from phasen_sb.metrics import pesq, si_sdr
from phasen_sb.models.loading import SHIPPED
from phasen_sb.models.weights import read_state

RATE = 16000
CLEAN = sorted((sample_corpus() / "clean_testset_wav_16k").glob("*.flac"))
NOISY = sample_corpus() / "noisy_testset_wav_16k"


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained("live", device="cpu", precision="fp32")


def decibels(wave):
    return 10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20)


def test_it_is_small_and_has_a_card():
    folder = SHIPPED / "live"
    assert (folder / "model.ckpt").stat().st_size < 10e6
    default = read_state(SHIPPED / "default" / "model.ckpt")
    ours = read_state(folder / "model.ckpt")
    assert sum(v.numel() for v in ours.values()) < sum(
        v.numel() for v in default.values()
    )
    card = (folder / "README.md").read_text()
    for heading in ("Scores", "Training data", "Limits", "Licence", "Retrain"):
        assert f"## {heading}" in card


def test_it_helps(enhancer):
    gains = []
    for path in CLEAN:
        clean, noisy = (
            sf.read(file, dtype="float32")[0]
            for file in (path, NOISY / path.name)
        )
        ours = enhancer.enhance(noisy, RATE)
        gains.append(
            [
                pesq(clean, ours) - pesq(clean, noisy),
                si_sdr(clean, ours) - si_sdr(clean, noisy),
            ]
        )
    assert np.all(np.mean(gains, 0) > [0.2, 1.5])


def test_it_streams_as_it_enhances_files(enhancer):
    noisy = sf.read(NOISY / CLEAN[0].name, dtype="float32")[0][: 2 * RATE]
    stream = StreamingEnhancer.from_pretrained("live", block_samples=256)
    assert stream.latency == 64
    blocks = [stream.process(block) for block in np.split(noisy, 125)]
    live = np.concatenate([*blocks, stream.flush()])
    expected = enhancer.enhance(noisy, RATE)
    live = live[stream.delay : stream.delay + len(noisy)]
    assert np.abs(live - expected).max() < 1e-4


def test_silence_stays_silence_and_noise_gets_softer(enhancer):
    assert np.abs(enhancer.enhance(np.zeros(RATE), RATE)).max() < 1e-12
    noise = np.random.default_rng(0).standard_normal(3 * RATE)
    for level in (1e-4, 0.1):
        ours = enhancer.enhance(level * noise, RATE)
        assert decibels(ours) < decibels(level * noise) - 6


def test_nothing_is_amplified_that_is_unlike_the_training_data(enhancer):
    """Attention without a limit made some of these a thousand times louder."""
    random = np.random.default_rng(0)
    hum = 0.1 * np.sign(np.sin(2 * np.pi * 55 * np.arange(3 * RATE) / RATE))
    clicks = np.where(random.random(3 * RATE) < 1e-3, 0.9, 0.0)
    noise = 0.1 * random.standard_normal(3 * RATE)
    fading = noise * np.linspace(0, 1, 3 * RATE) ** 6
    low = np.cumsum(noise) / 300
    for wave in (hum, clicks, fading, low, hum + low + clicks):
        ours = enhancer.enhance(wave, RATE)
        frames = [x.reshape(-1, RATE // 10) for x in (wave, ours)]
        before, after = (np.square(x).mean(1).max() for x in frames)
        assert after < 2 * before


def test_speech_keeps_its_level(enhancer):
    for path in CLEAN:
        clean, _ = sf.read(path, dtype="float32")
        ours = enhancer.enhance(clean, RATE)
        assert abs(decibels(ours) - decibels(clean)) < 1


def test_the_command_uses_it_by_default(tmp_path):
    noisy = np.random.default_rng(0).standard_normal(RATE) * 1000
    pcm = noisy.astype("<i2").tobytes()
    done = subprocess.run(
        ["phasen", "live", "--input", "-", "--output", "-"],
        input=pcm,
        capture_output=True,
        check=True,
    )
    enhanced = np.frombuffer(done.stdout, "<i2")
    assert len(enhanced) >= RATE
    assert decibels(enhanced) < decibels(noisy) - 6
