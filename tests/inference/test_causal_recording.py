"""A causal model enhances recordings as it does live speech."""

import numpy as np
import pytest
import soundfile as sf
from helpers.causal_model import write_live_model
from helpers.signals import noise
from helpers.small_model import names

from phasen_sb import PHASEN, Enhancer, StreamingEnhancer
from phasen_sb.errors import UserError
from phasen_sb.inference.causal_recording import is_causal
from phasen_sb.inference.model_rate import run_at_model_rate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_live_model(tmp_path_factory.mktemp("models") / "live")


@pytest.fixture(scope="module")
def enhancer(folder):
    """It computes 1 s at a time."""
    return Enhancer.from_pretrained(folder, chunk_seconds=1)


@pytest.fixture(scope="module")
def stream(folder):
    """[samples] as they come out of blocks of 80 ms, without the delay."""
    live = StreamingEnhancer.from_pretrained(folder, block_samples=256)

    def enhance(wave):
        padded = np.pad(wave, (0, -len(wave) % 1280))
        blocks = [live.process(block) for block in padded.reshape(-1, 1280)]
        delay = live.delay
        return np.concatenate([*blocks, live.flush()])[delay:][: len(wave)]

    return enhance


def speechlike(seconds, rate=16000):
    """Noise whose level rises and falls by 40 dB, so that chunks differ."""
    time = np.arange(round(seconds * rate)) / rate
    level = 10 ** (np.sin(2 * np.pi * 0.3 * time) - 2)
    return level * noise(len(time)).numpy()


@pytest.mark.parametrize("seconds", [0.03, 2, 3.3])
def test_a_recording_comes_out_as_live_speech(enhancer, stream, seconds):
    wave = speechlike(seconds)
    # The last frames have padded blocks in sight.
    sure = (len(wave) // 256 - 1) * 256
    expected, out = stream(wave), enhancer.enhance(wave, 16000)
    assert len(out) == len(wave)
    assert np.allclose(out[:sure], expected[:sure], atol=1e-6)
    assert np.abs(expected - wave).max() > 0.01 * np.abs(wave).max()


@pytest.mark.parametrize("rate", [8000, 44100])
def test_other_rates_and_channels(enhancer, stream, rate):
    # Long enough for two chunks.
    waves = np.stack([speechlike(4.3, rate), 0.3 * noise(43 * rate // 10)])

    def change(low):
        return stream(low) - low

    both = enhancer.enhance(waves, rate, 0.6)
    sure = slice(0, -rate // 20)  # as above
    for wave, out in zip(waves, both, strict=True):
        expected = wave + 0.6 * run_at_model_rate(change, wave, rate, 16000)
        assert np.allclose(out[sure], expected[sure], atol=1e-6)
    assert np.array_equal(enhancer.enhance(waves, rate, 0), waves)


@pytest.fixture
def models(monkeypatch):
    """The model of each block that is computed."""
    process, models = StreamingEnhancer.process, []

    def noting(stream, block):
        models.append(stream.model)
        return process(stream, block)

    monkeypatch.setattr(StreamingEnhancer, "process", noting)
    return models


def test_equal_channels_are_computed_once(enhancer, models):
    waves = np.stack(3 * [speechlike(6.3)])
    alone = enhancer.enhance(waves[0], 16000)
    blocks = len(models)
    assert np.array_equal(enhancer.enhance(waves, 16000), np.stack(3 * [alone]))
    assert len(models) == 2 * blocks
    # Another voice comes on one of them, first seen in the second block.
    waves[1, 60000:] = waves[1, :-60000]
    expected = [alone, enhancer.enhance(waves[1], 16000), alone]
    models.clear()
    assert np.array_equal(enhancer.enhance(waves, 16000), np.stack(expected))
    assert len(models) == 3 * blocks - 2


def test_devices_take_turns(folder, enhancer, models):
    several = Enhancer.from_pretrained(folder, "cpu,cpu", chunk_seconds=1)
    assert (several.files_at_a_time, enhancer.files_at_a_time) == (2, 1)
    wave = speechlike(0.5)
    outputs = [several.enhance(wave, 16000) for _ in range(3)]
    assert models[0] is models[2] is not models[1]
    expected = enhancer.enhance(wave, 16000)
    assert all(np.array_equal(out, expected) for out in outputs)


def test_files_keep_what_they_had(enhancer, stream, tmp_path):
    wave = 3 * np.stack([speechlike(2.5), speechlike(2.5)[::-1]], 1)
    wave[7, 1] = np.nan
    source = tmp_path / "talk.wav"
    with sf.SoundFile(source, "w", 16000, 2, "FLOAT") as file:
        file.title = "Talk"
        file.write(wave)
    seconds = []
    result = enhancer.enhance_file(
        source, residual=True, normalize=True, progress=seconds.append
    )
    assert names(tmp_path) == [
        "talk.enhanced.wav",
        "talk.residual.wav",
        "talk.wav",
    ]
    assert result.non_finite == 1 and result.seconds == sum(seconds) == 2.5
    out = sf.read(result.target)[0]
    rest = sf.read(result.residual)[0]
    assert sf.SoundFile(result.target).title == "Talk"
    assert np.allclose(out + rest, np.nan_to_num(wave), atol=1e-6)
    assert np.allclose(out[:39680, 0], stream(wave[:, 0])[:39680], atol=1e-6)


def test_a_file_that_was_cut_leaves_nothing(enhancer, tmp_path):
    source = tmp_path / "cut.wav"
    sf.write(source, speechlike(2), 16000)
    source.write_bytes(source.read_bytes()[:40000])
    with pytest.raises(UserError, match="cut short"):
        enhancer.enhance_file(source)
    assert names(tmp_path) == ["cut.wav"]


def test_samples_are_read_once_and_soon_written(enhancer, tmp_path):
    """Memory does not grow: each second comes out when a few more are read."""
    source = tmp_path / "long.wav"
    sf.write(source, speechlike(12), 16000)
    reads, lags = [], []

    def read(count):
        block = wave[sum(reads) :][:count]
        reads.append(len(block))
        return block

    wave = sf.read(source)[0][:, None]
    written = 0
    for part in enhancer._recordings.enhance(read, 16000, 1.0, enhancer.plan):
        written += len(part)
        lags.append(sum(reads) - written)
    assert sum(reads) == written == len(wave)
    assert max(lags) == 2 * 16000


def test_computes_in_fp32_unless_told(folder, enhancer):
    assert enhancer.precision == "fp32"
    wave = speechlike(1)
    coarse = Enhancer.from_pretrained(folder, precision="bf16")
    difference = coarse.enhance(wave, 16000) - enhancer.enhance(wave, 16000)
    assert 1e-6 < np.abs(difference).max() < 0.1


def test_what_streams_is_causal(enhancer, monkeypatch):
    model = enhancer.mods.enhance_model
    assert is_causal(model)
    monkeypatch.setattr(model, "normalize", True)
    assert not is_causal(model)
    monkeypatch.undo()
    subclass = type("Subclass", (PHASEN,), {})
    monkeypatch.setattr(model.network, "__class__", subclass)
    assert not is_causal(model)
