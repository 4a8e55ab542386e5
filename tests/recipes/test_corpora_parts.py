"""How recordings are judged, cut and joined, and credits are read."""

import sys
from collections import Counter

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import fftconvolve, firwin

from phasen_sb.errors import UserError
from recipes.corpora.credits import read_folder_lists, read_markdown_tables
from recipes.corpora.signals import (
    RATE,
    clipped_share,
    estimate_snr,
    peak_share,
    read_mono,
)
from recipes.corpora.speech import (
    Word,
    cut_at_pauses,
    join,
    make_utterances,
    read_word,
)

LOW = firwin(401, 3000, fs=RATE, window=("kaiser", 12))


def test_words_are_joined_at_the_tempo_of_speech():
    rng = np.random.default_rng(0)
    tone = 0.1 * np.sin(np.arange(RATE // 2) / 3).astype(np.float32)
    whole = np.concatenate([tone, np.full(RATE // 4, 1e-4, np.float32)])
    joined = join([Word(tone, whole, "a")] * 40, rng)
    silent = np.abs(joined) < 1e-3
    edges = np.flatnonzero(np.diff(silent.astype(int)))
    pauses = np.diff(edges)[silent[edges[:-1] + 1]] / RATE
    pauses = pauses[pauses > 0.03]
    assert len(pauses) == 39
    assert 0.05 < pauses.min() and pauses.max() < 0.85
    assert 0.15 < np.median(pauses) < 0.4
    # The room goes on in the pauses.
    assert np.square(joined[silent]).mean() > 1e-10


def test_long_recordings_are_cut_where_they_are_silent():
    rng = np.random.default_rng(0)
    speech = 0.1 * rng.standard_normal(20 * RATE)
    for second in (6, 11, 16):
        speech[second * RATE : second * RATE + 4000] = 0
    parts = cut_at_pauses(speech)
    assert [round(len(part) / RATE) for part in parts] == [6, 5, 5, 4]
    assert sum(map(len, parts)) == len(speech)


def test_snr_of_a_recording_is_estimated():
    rng = np.random.default_rng(0)
    speech = 0.1 * rng.standard_normal(4 * RATE)
    speech[RATE : 2 * RATE] = 0
    for wanted in (20, 40):
        floor = 0.1 * 10 ** (-wanted / 20) * rng.standard_normal(len(speech))
        assert abs(estimate_snr(speech + floor) - wanted) < 2


def test_clipping_is_noticed():
    tone = 1.2 * np.sin(np.arange(RATE) / 20)
    assert clipped_share(tone.clip(-1, 1)) > 0.2
    assert clipped_share(tone / 1.21) == 0  # loud, but round
    speech = np.random.default_rng(0).laplace(size=RATE)
    assert peak_share(speech) < 0.01
    assert peak_share(speech.clip(-1.5, 1.5)) > 0.1


def test_credits_are_read(tmp_path):
    (tmp_path / "LICENSE").write_text(
        "./af/words:\na.ogg  Her Bos 2011 / GPL\n"
        "b.ogg http://x.org/ Creative Common License BY-SA\n\n"
        "c.ogg  GPL V3+\n./ru/misc:\na.ogg Ivan <i at b> / GPL\n"
    )
    assert read_folder_lists(tmp_path) == {
        "af/words/a.ogg": ("Her Bos", "GPL"),
        "af/words/b.ogg": ("http://x.org/", "Creative Common License BY-SA"),
        "af/words/c.ogg": ("", "GPL V3+"),
        "ru/misc/a.ogg": ("Ivan", "GPL"),
    }
    (tmp_path / "door").mkdir()
    (tmp_path / "door" / "credits.md").write_text(
        "| File Name | Author | License |\n|---|---|---|\n"
        "| open.ogg | kyles | **CC0 1.0** | link |\n|  |  | ** ** |  |\n"
    )
    assert read_markdown_tables(tmp_path) == {
        "door/open.ogg": ("kyles", "CC0 1.0")
    }


def test_g722_is_read_or_pyav_asked_for(tmp_path, monkeypatch):
    pytest.importorskip("av")
    path = tmp_path / "prompt.g722"
    for size in (0, 400):
        path.write_bytes(bytes(size))
        samples, rate = read_mono(path)
        assert len(samples) == 2 * size and rate == RATE
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="prompt.g722 needs PyAV"):
        read_mono(path)


def spoken(rng, floor=1e-5, pause=RATE // 2):
    """Noise that comes and goes between pauses, ``[samples]``."""
    burst = 0.05 * rng.standard_normal(RATE) * np.hanning(RATE)
    padded = np.concatenate([np.zeros(pause), burst, np.zeros(pause)])
    return padded + floor * rng.standard_normal(len(padded))


@pytest.mark.parametrize(
    "change, rate, reason",
    [
        (lambda x: x, RATE, None),
        (lambda x: x, 8000, "sample rate below 16 kHz"),
        (lambda x: x[:1000], RATE, "too short"),
        (lambda x: (30 * x).clip(-0.95, 0.95), RATE, "clipped"),
        (lambda x: (30 * x).clip(-0.5, 0.5), RATE, "limited"),
        (lambda x: x / 3000, RATE, "silent"),
        (lambda x: fftconvolve(x, LOW, "same"), RATE, "nothing above 4 kHz"),
    ],
)
def test_recordings_that_are_no_good_are_counted(
    tmp_path, change, rate, reason
):
    path = tmp_path / "a.wav"
    speech = change(spoken(np.random.default_rng(0)))
    sf.write(path, speech, rate, subtype="FLOAT")
    dropped = Counter()
    word = read_word(path, "a", dropped)
    assert (word is None) == (reason is not None)
    assert list(dropped) == ([reason] if reason else [])


def test_noisy_utterances_are_left_out():
    for floor, count in ((1e-5, 1), (3e-3, 0)):
        rng = np.random.default_rng(0)
        speech = np.tile(spoken(rng, floor).astype(np.float32), 2)
        dropped = Counter()
        words = iter([Word(speech, speech, "a")])
        made = list(make_utterances(words, 30.0, rng, dropped))
        assert len(made) == count and dropped["noisy"] == 1 - count
