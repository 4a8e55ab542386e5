"""Waveforms and files of every kind come out of enhancement as they should."""

import argparse
import inspect

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.small_model import (
    FRONT_END,
    SPEECH,
    decibels,
    enhancer_of,
    names,
    write_noise,
    write_small_model,
)
from torch import nn

from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
from phasen_sb.commands.enhance import add_arguments
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.enhancer import Enhancer


@pytest.fixture(scope="module")
def identity():
    return enhancer_of(lambda wave: wave)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = write_small_model(tmp_path_factory.mktemp("models") / "small")
    return Enhancer.from_pretrained(folder, "cpu", "fp32")


@pytest.fixture(scope="module")
def speech():
    """6 s of noisy speech at 16 kHz."""
    return np.concatenate([sf.read(path)[0] for path in SPEECH])[:96000]


# ------------------------------------------------------------------- identity


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 44099, 96000])
@pytest.mark.parametrize("samples", [1, 2, 401, 5.37])
def test_identity_is_exact_at_every_rate_and_length(identity, rate, samples):
    if isinstance(samples, float):
        samples = int(samples * rate)  # several chunks
    noise = np.random.default_rng(0).standard_normal((2, samples))
    assert np.array_equal(identity.enhance(noise, rate), noise)


@pytest.mark.parametrize(
    "suffix, subtype, channels",
    [
        ("wav", "PCM_U8", 1),
        ("wav", "PCM_16", 2),
        ("wav", "PCM_24", 3),
        ("wav", "PCM_32", 1),
        ("wav", "FLOAT", 64),
        ("wav", "DOUBLE", 1),
        ("flac", "PCM_16", 1),
        ("flac", "PCM_24", 8),
        ("aiff", "PCM_16", 2),
        ("caf", "PCM_32", 2),
        ("w64", "PCM_24", 2),
        ("au", "ULAW", 1),
    ],
)
def test_identity_gives_lossless_files_back(
    identity, tmp_path, suffix, subtype, channels
):
    rate = 192000 if channels == 64 else 44100
    source = write_noise(
        tmp_path / f"noise.{suffix}", 12345, rate, channels, subtype=subtype
    )
    result = identity.enhance_file(source)
    before, after = sf.info(source), sf.info(result.target)
    for fact in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, fact) == getattr(before, fact), fact
    assert np.array_equal(
        sf.read(result.target, dtype="float64")[0],
        sf.read(source, dtype="float64")[0],
    )
    assert result.over == 0 and result.target.name == f"noise.enhanced.{suffix}"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_metadata_are_kept(identity, tmp_path, suffix):
    source = tmp_path / f"talk.{suffix}"
    tags = {"title": "Gespräch", "artist": "Anna", "comment": "Teil 2"}
    with sf.SoundFile(source, "w", 16000, 1) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(np.zeros(2000))
    with sf.SoundFile(source) as file:
        before = file.copy_metadata()
    before = {name: text for name, text in before.items() if text}
    assert before["title"] == tags["title"]
    for format in (None, "wav", "flac"):
        result = identity.enhance_file(source, format=format, overwrite=True)
        with sf.SoundFile(result.target) as file:
            assert before.items() <= file.copy_metadata().items()


@pytest.mark.parametrize(
    "suffix, subtype, rate",
    [
        ("mp3", "MPEG_LAYER_III", 44100),
        ("mp3", "MPEG_LAYER_III", 8000),
        ("ogg", "VORBIS", 22050),
        ("opus", "OPUS", 48000),
    ],
)
@pytest.mark.parametrize("samples", [1, 33333])
def test_lossy_files_keep_their_length_and_sound(
    identity, tmp_path, suffix, subtype, rate, samples
):
    source = tmp_path / f"tone.{suffix}"
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)
    container = "MP3" if suffix == "mp3" else "OGG"
    sf.write(source, tone, rate, subtype, format=container)
    result = identity.enhance_file(source)
    before, after = sf.read(source)[0], sf.read(result.target)[0]
    assert len(after) == len(before) == samples
    assert sf.info(result.target).samplerate == rate
    if samples > 1:
        assert decibels(after - before, before) < -20


def test_arrays_come_back_as_they_were_given(identity):
    generator = np.random.default_rng(0)
    for given in (
        generator.standard_normal(1000).astype("float32"),
        generator.integers(-(2**15), 2**15, (2, 700)).astype("int16"),
        torch.randn(3, 2, 500),
        torch.randn(10, dtype=torch.float64),
    ):
        result = identity.enhance(given, 22050)
        assert type(result) is type(given) and result.dtype == given.dtype
        assert result.shape == given.shape and (result == given).all()


# ----------------------------------------------------------------- enhancement


@pytest.mark.parametrize("first_half", [1.0, 0.05])
def test_chunks_give_what_the_whole_file_gives(small, speech, first_half):
    speech = speech * np.where(np.arange(96000) < 48000, first_half, 1.0)
    with torch.inference_mode():
        wave = torch.from_numpy(speech).float()[None]
        whole = small.enhance_batch(wave)[0].numpy()
    small.plan = ChunkPlan(2)
    chunked = small.enhance(speech, 16000)
    small.plan = ChunkPlan()
    one_chunk = small.enhance(speech, 16000)
    if first_half == 1.0:  # else the level follows the two halves
        assert decibels(one_chunk - whole, whole) < -90
    whole = one_chunk
    for half in (slice(None, 48000), slice(48000, None)):
        assert decibels((chunked - whole)[half], whole[half]) < -50
    assert decibels(whole - speech, whole) > -30, "nothing was enhanced"


def test_many_channels_at_a_high_rate(small, speech):
    noisy = np.stack([speech[i * 1000 :][:24000] for i in range(64)])
    enhanced = small.enhance(noisy, 192000)
    assert enhanced.shape == noisy.shape
    alone = small.enhance(noisy[63], 192000)
    assert np.allclose(enhanced[63], alone, atol=1e-6)
    assert decibels(alone - noisy[63], noisy[63]) > -60, "nothing was enhanced"


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 192000])
@pytest.mark.parametrize("samples", [1, 100])
def test_a_network_takes_a_moment_of_sound(small, rate, samples):
    wave = np.full(samples, 0.5)
    result = small.enhance(wave, rate)
    assert result.shape == wave.shape and np.isfinite(result).all()
    assert np.abs(result).max() <= 1


def test_level_is_kept_and_does_not_matter(small, speech):
    loud = small.enhance(speech[:40000], 16000)
    quiet = small.enhance(0.001 * speech[:40000], 16000)
    assert decibels(1000 * quiet - loud, loud) < -90


def test_channels_do_not_mix(small, speech):
    left, right = speech[:30000], speech[40000:70000]
    both = small.enhance(np.stack([left, right]), 16000)
    assert np.allclose(both[0], small.enhance(left, 16000), atol=1e-6)
    assert np.allclose(both[1], small.enhance(right, 16000), atol=1e-6)


def test_channels_that_part_later_are_enhanced_each_by_itself(small, speech):
    left = speech[:80000]
    right = np.concatenate([left[:56000], 9 * speech[90000:], left[:18000]])
    small.plan = ChunkPlan(2)
    both = small.enhance(np.stack([left, right]), 16000)
    alone = [small.enhance(wave, 16000) for wave in (left, right)]
    twice = small.enhance(np.stack([left, left]), 16000)
    small.plan = ChunkPlan()
    assert np.allclose(both, alone, atol=1e-6)
    assert np.array_equal(twice[0], twice[1])
    assert not np.allclose(alone[0][:32000], alone[1][:32000], atol=1e-5)


@pytest.mark.parametrize("part", ["enhancer", "network"])
def test_a_subclass_keeps_its_own_forward(speech, part):
    class Halving(PhasenEnhancer):
        def forward(self, wave, lengths=None):
            return 0.5 * wave, None

    class HalvingNetwork(PHASEN):
        def forward(self, spectrogram, lengths=None):
            return type("Output", (), {"spectrogram": 0.5 * spectrogram})

    outer = Halving if part == "enhancer" else PhasenEnhancer
    inner = HalvingNetwork if part == "network" else PHASEN
    network = inner(n_fft=256, recurrent_units=6, dense_units=8)
    model = outer(ConvSTFT(**FRONT_END), ConvISTFT(**FRONT_END), network)
    enhancer = Enhancer({"enhance_model": model}, {"sample_rate": 16000})
    wave = speech[:8000]
    assert np.allclose(enhancer.enhance(wave, 16000), 0.5 * wave, atol=1e-5)


def test_command_and_python_have_the_same_chunks():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    python = inspect.signature(Enhancer.from_pretrained).parameters
    chunk = parser.parse_args(["a.wav"]).chunk
    assert chunk == python["chunk_seconds"].default == ChunkPlan().step == 10


def test_strength_mixes_the_noisy_signal_back(speech):
    mute = enhancer_of(lambda wave: 0 * wave)
    for strength in (0, 0.25, 1):
        result = mute.enhance(speech, 16000, strength)
        assert np.allclose(result, (1 - strength) * speech)


def test_sound_above_the_models_band_follows_its_highest_octave():
    """A model that halves everything halves what it cannot see, too."""
    halve = enhancer_of(lambda wave: 0.5 * wave)
    seconds = np.arange(48000) / 48000
    tones = np.sin(2 * np.pi * 12000 * seconds)
    tones += np.sin(2 * np.pi * 6000 * seconds)
    result = halve.enhance(tones, 48000)
    inner = slice(4800, -4800)
    assert decibels((result - 0.5 * tones)[inner], tones[inner]) < -60


@pytest.mark.parametrize("normalize", [False, True])
def test_samples_beyond_full_scale_are_told(tmp_path, normalize):
    double = enhancer_of(lambda wave: 2 * wave)
    source = tmp_path / "loud.wav"
    sf.write(source, np.tile([0.75, -0.25], 800), 16000)
    result = double.enhance_file(source, normalize=normalize)
    after = sf.read(result.target)[0]
    note = " ".join(result.notes())
    assert names(tmp_path) == ["loud.enhanced.wav", "loud.wav"]
    if normalize:
        assert np.allclose(after, np.tile([1, -1 / 3], 800), atol=1e-4)
        assert result.over == 0 and "scaled by -3.5 dB" in note
    else:
        assert np.allclose(after, np.tile([1, -0.5], 800), atol=1e-4)
        assert result.over == 800
        assert "800 samples exceed full scale, by up to 3.5 dB" in note
    kept = double.enhance_file(source, format="wav:FLOAT", overwrite=True)
    assert sf.read(kept.target)[0].max() == 1.5 and kept.over == 0


def test_uncentred_front_end_reaches_the_last_sample():
    front_end = FRONT_END | {"center": False}

    class Untouched(nn.Module):
        def forward(self, spectrogram):
            return type("Output", (), {"spectrogram": spectrogram})

    model = PhasenEnhancer(
        ConvSTFT(**front_end), ConvISTFT(**front_end), Untouched()
    )
    enhancer = Enhancer({"enhance_model": model}, {"sample_rate": 16000})
    wave = np.random.default_rng(0).standard_normal(12345)
    result = enhancer.enhance(wave, 16000)
    assert np.allclose(result[1:], wave[1:], atol=1e-4)
