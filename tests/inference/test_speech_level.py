"""Quiet voices in loud company, and what is no sound at all."""

import numpy as np
import pytest
import soundfile

from phasen_sb import Enhancer
from phasen_sb.data import sample_corpus
from phasen_sb.inference.speech_level import SpeechLevelMeter, SpeechLevels

RATE = 16000


@pytest.fixture(scope="module")
def enhancer():
    return Enhancer.from_pretrained(device="cpu", precision="fp32")


def read_pair(index, seconds=6):
    """Noisy and clean speech of the sample's test set, in unit level."""
    root = sample_corpus()
    name = sorted(p.name for p in (root / "clean_testset_wav_16k").iterdir())
    noisy, clean = (
        soundfile.read(root / f"{kind}_testset_wav_16k" / name[index])[0]
        for kind in ("noisy", "clean")
    )
    samples = seconds * RATE
    level = rms(noisy)
    return np.resize(noisy, samples) / level, np.resize(clean, samples) / level


def rms(wave):
    return np.sqrt(np.mean(wave**2))


def gain(clean, wave):
    """What became of the clean signal, in dB."""
    return 20 * np.log10(np.abs(wave @ clean) / (clean @ clean))


@pytest.mark.parametrize(
    ("far", "decibels"),  # files of 17.5 and 2.5 dB of SNR
    [(5, -30), (5, 20), (3, -20)],
)
def test_a_far_voice_is_kept(enhancer, far, decibels):
    near, _ = read_pair(0)
    noisy, clean = read_pair(far)
    scale = 10 ** (decibels / 20)
    recording = 0.01 * np.concatenate([near, scale * noisy])
    alone = enhancer.enhance(0.01 * scale * noisy, RATE)
    result = enhancer.enhance(recording, RATE)[len(near) :]
    clean, settled = 0.01 * scale * clean, slice(RATE, None)
    assert gain(clean[settled], result[settled]) == pytest.approx(
        gain(clean[settled], alone[settled]), abs=1
    )


def test_noise_in_pauses_is_not_raised(enhancer):
    speech, clean = read_pair(5, 4)
    draw = np.random.default_rng(0)
    strokes = np.zeros(6 * RATE)  # of a key, 5 a second
    chirps = np.zeros(6 * RATE)
    time = np.arange(3200)
    chirp = np.hanning(3200) * np.sin(
        1.2 * time + 1.2 * np.sin(2 * np.pi * time / 1600)
    )
    for start in range(0, len(strokes) - RATE // 5, RATE // 5):
        strokes[start : start + 800] = np.exp(-np.arange(800) / 160)
        if start % (3 * RATE // 5) == 0:
            chirps[start : start + 3200] = chirp
    hiss = draw.normal(size=6 * RATE)
    for noise in (hiss, strokes * hiss, chirps + 0.003 * hiss):
        pause = 0.03 * noise / rms(noise)
        recording = np.concatenate([speech, pause, speech])
        result = enhancer.enhance(0.05 * recording, RATE) / 0.05
        middle = slice(6 * RATE, 8 * RATE)
        assert rms(result[middle]) < 0.003  # 50 dB below the speech


def test_offset_and_infrasound_do_not_count(enhancer):
    noisy, clean = read_pair(3)
    wave = 0.02 * noisy
    plain = enhancer.enhance(wave, RATE)
    shifted = enhancer.enhance(wave + 0.1, RATE)
    assert np.mean(shifted) == pytest.approx(0.1, abs=1e-3)  # still there
    assert rms(shifted - 0.1 - plain) < 0.05 * rms(plain)
    rumble = 0.2 * np.sin(2 * np.pi * 5 * np.arange(len(wave)) / RATE)
    rumbling = enhancer.enhance(wave + rumble, RATE)  # removed
    middle = slice(RATE, -RATE)
    assert rms((rumbling - plain)[middle]) < 0.1 * rms(plain[middle])


def test_a_bang_before_the_speech(enhancer):
    noisy, clean = read_pair(3)
    bang = np.random.default_rng(0).uniform(-1, 1, RATE)
    wave = np.concatenate([bang, 0.01 * noisy])
    result = enhancer.enhance(wave, RATE)[2 * RATE :]
    clean = 0.01 * clean[RATE:]
    assert gain(clean, result) == pytest.approx(0, abs=1)


def test_offsets_are_those_of_the_bursts():
    """Words of noise, 0.2 s long: the second half is 20 dB softer."""
    draw = np.random.default_rng(0)
    words = np.repeat(np.tile([1.0, 0.01], 40), RATE // 5)  # 16 s
    wave = words * draw.normal(size=len(words))
    wave[len(wave) // 2 :] *= 0.1
    meter = SpeechLevelMeter(RATE, 1)
    for block in np.array_split(wave[:, None], 7):
        meter.add(block)
    levels = meter.finish()
    first, second = np.array_split(levels.offsets[:, 0], 2)
    assert not first[:-10].any()
    # Half of the frames are active: 3 dB above the half's root mean square,
    # less PAUSES; 20 dB below the first half's, 6 of which are tolerated.
    expected = 20 * np.log10(rms(wave[len(wave) // 2 :]) / rms(wave)) + 7.5
    assert second[10:] == pytest.approx(expected, abs=0.3)
    curve = levels.curve(0, 12 * RATE, 100)
    assert curve == pytest.approx(rms(wave) * 10 ** (expected / 20), rel=0.05)


@pytest.mark.parametrize("rate", [11025, 16000])
def test_levels_change_where_the_speech_does(rate):
    """After five minutes, too, of frames that are no whole 20 ms."""
    samples, change = 360 * rate, 300
    time = np.arange(samples) / rate
    wave = 0.1 * np.random.default_rng(0).standard_normal(samples)
    wave *= np.where(time % 0.5 < 0.25, 1, 0.05)
    wave[change * rate :] *= 0.05
    meter = SpeechLevelMeter(rate, 1)
    meter.add(wave[:, None])
    curve = meter.finish().curve(0, 0, samples)
    middle = np.sqrt(curve[rate] * curve[-rate])
    found = np.argmin(np.abs(np.log(curve / middle))) / rate
    assert curve[-rate] < 0.3 * curve[rate]
    assert found == pytest.approx(change, abs=0.4)


def test_what_the_network_takes_for_noise_is_not_raised():
    """A passage of 6 s that was raised by 20 dB, and what was left of it."""
    offsets = np.full((50, 1), -20.0)
    one, none = np.ones(1), np.zeros(1)
    levels = SpeechLevels(RATE, none, one, none > 0, offsets)
    noise = np.random.default_rng(0).normal(size=6 * RATE)
    words = np.repeat(np.tile([1.0, 0.01], 15), RATE // 5)
    # Speech, with the background between the words cleared
    assert levels.reject_noise(0, 0, noise, words * noise) is None
    # Removed, or kept without pauses
    for left in (0.5 * words, np.ones_like(words)):
        found = levels.reject_noise(0, 2 * RATE, noise, left * noise)
        assert not found[13:37].any()  # 2 to 8 s
        assert found[:8] == pytest.approx(-20)
        assert found[43:] == pytest.approx(-20)
