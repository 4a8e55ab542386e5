"""What cannot be enhanced gets one clear sentence and leaves nothing behind."""

import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import enhancer_of, names

from phasen_sb.errors import UserError


@pytest.fixture(scope="module")
def identity():
    return enhancer_of(lambda wave: wave)


def cut(path, rate, container, subtype):
    sf.write(path, np.random.randn(60000) / 9, rate, subtype, format=container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_fast(path):
    # libsndfile would end the process when it writes Vorbis at this rate.
    sf.write(path, np.zeros(1000), 384000, format="FLAC")


BAD_FILES = {
    "fast.ogg": (
        write_fast,
        r"fast.enhanced.ogg cannot be written: Ogg Vorbis goes up to 200000 Hz",
    ),
    "empty.wav": (
        lambda path: path.touch(),
        r"empty.wav is an empty file of 0 bytes; get a whole copy.",
    ),
    "none.wav": (
        lambda path: sf.write(path, np.zeros(0), 16000),
        r"none.wav has no samples.",
    ),
    "text.mp3": (
        lambda path: path.write_text("no sound"),
        r"text.mp3 cannot be decoded as audio \(Format not recognised\); conv",
    ),
    "samples.raw": (
        lambda path: path.write_bytes(b"1234"),
        r"samples.raw cannot be decoded as audio \(it has no header\)",
    ),
    "folder.wav": (
        lambda path: path.mkdir(),
        r"folder.wav is a folder, not an audio file.",
    ),
    "missing.wav": (
        lambda path: None,
        r"There is no file .*missing.wav; check the path.",
    ),
    "pipe.wav": (
        lambda path: os.mkfifo(path),
        r"pipe.wav is not a regular file; for a pipe give - and feed it",
    ),
    "cut.wav": (
        lambda path: cut(path, 16000, "WAV", "PCM_16"),
        r"cut.wav is cut short: 60022 bytes are missing after 29989 samples;",
    ),
    "cut.aiff": (
        lambda path: cut(path, 16000, "AIFF", "PCM_16"),
        r"cut.aiff is cut short: \d+ bytes are missing",
    ),
    "cut.flac": (
        lambda path: cut(path, 16000, "FLAC", "PCM_16"),
        r"cut.flac is (cut short|damaged)",
    ),
    "cut.mp3": (
        lambda path: cut(path, 16000, "MP3", "MPEG_LAYER_III"),
        r"cut.mp3 is (cut short|damaged)",
    ),
    "cut.opus": (
        lambda path: cut(path, 48000, "OGG", "OPUS"),
        r"cut.opus (is cut short|cannot be decoded)",
    ),
    "cut.caf": (
        lambda path: cut(path, 16000, "CAF", "PCM_16"),
        r"cut.caf cannot be decoded as audio \(.+ malformed\)",
    ),
    "cut.w64": (
        lambda path: cut(path, 16000, "W64", "PCM_24"),
        r"cut.w64 is cut short: \d+ bytes are missing",
    ),
    "cut.au": (
        lambda path: cut(path, 16000, "AU", "FLOAT"),
        r"cut.au is cut short: \d+ bytes are missing",
    ),
    "cut.ogg": (
        lambda path: cut(path, 16000, "OGG", "VORBIS"),
        r"cut.ogg is cut short: the stream has no end mark",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_get_a_sentence_and_leave_nothing(identity, tmp_path, name):
    make, sentence = BAD_FILES[name]
    make(tmp_path / name)
    before = names(tmp_path)
    with pytest.raises(UserError, match=sentence):
        identity.enhance_file(tmp_path / name)
    assert names(tmp_path) == before


@pytest.mark.parametrize("subtype, rate", [("VORBIS", 16000), ("OPUS", 48000)])
def test_an_ogg_cut_anywhere_is_refused(identity, tmp_path, subtype, rate):
    source = tmp_path / "whole.ogg"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 3 * rate)
    sf.write(source, noise, rate, subtype, format="OGG")
    whole = source.read_bytes()
    last = whole.rfind(b"OggS")
    cuts = {*range(len(whole) - 40, len(whole)), *range(last - 2, last + 30)}
    cuts |= {len(whole) // 2, len(whole) * 3 // 4, (last + len(whole)) // 2}
    cut_file = tmp_path / "cut.ogg"
    for size in sorted(cuts):
        cut_file.write_bytes(whole[:size])
        with pytest.raises(UserError, match="cut.ogg is cut short"):
            identity.enhance_file(cut_file)
    identity.enhance_file(source)
    assert names(tmp_path) == ["cut.ogg", "whole.enhanced.ogg", "whole.ogg"]


def test_a_file_that_may_not_be_read(identity, tmp_path):
    # Opens for everybody, root too, and fails when it is read.
    with pytest.raises(
        UserError, match=r"/proc/self/mem cannot be read \(.+\)"
    ):
        identity.enhance_file("/proc/self/mem", tmp_path / "out.wav")
    assert names(tmp_path) == []


def test_nan_and_infinity_become_zero_and_are_told(identity, tmp_path):
    source = tmp_path / "broken.wav"
    wave = np.full(20000, 0.5)
    wave[[3, 19000]] = np.nan, np.inf
    sf.write(source, wave, 16000, "FLOAT")
    result = identity.enhance_file(source)
    expected = np.where(np.isfinite(wave), wave, 0)
    assert np.array_equal(sf.read(result.target)[0], expected)
    assert "2 samples were NaN or infinite" in result.notes()[0]
    with pytest.warns(UserWarning, match="2 samples were NaN"):
        assert np.array_equal(identity.enhance(wave, 16000), expected)


def test_outputs_that_would_destroy_something_are_refused(identity, tmp_path):
    source, other = tmp_path / "a.wav", tmp_path / "b.wav"
    sf.write(source, np.zeros(100), 16000)
    sf.write(other, np.ones(100), 16000)
    link = tmp_path / "link.wav"
    link.symlink_to(source)
    for target, sentence in (
        (source, "is the input itself"),
        (other, "exists already; give --overwrite"),
        (tmp_path, "is a folder; give an output file"),
        (link, "is the input itself"),
        (Path("/proc/out.wav"), "/proc/.*out.* cannot be written"),
        (other / "c.wav", "cannot be written"),
        (tmp_path / "d.xyz", "The format 'xyz' is unknown"),
    ):
        for normalize in (False, True):
            with pytest.raises(UserError, match=sentence):
                identity.enhance_file(source, target, normalize=normalize)
    with pytest.raises(UserError, match="is the input itself"):
        identity.enhance_file(source, source, overwrite=True)
    assert names(tmp_path) == ["a.wav", "b.wav", "link.wav"]
    with pytest.raises(UserError, match="takes no 64 channel"):
        wide = tmp_path / "wide.wav"
        sf.write(wide, np.zeros((9, 64)), 16000)
        identity.enhance_file(wide, format="mp3")
    assert names(tmp_path) == ["a.wav", "b.wav", "link.wav", "wide.wav"]


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_full_disk_is_told_and_leaves_nothing(identity, tmp_path, suffix):
    source = tmp_path / "long.wav"
    sf.write(source, np.random.default_rng(0).uniform(-1, 1, 160000), 16000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        with pytest.raises(UserError, match=r"cannot be written \(File too"):
            identity.enhance_file(source, tmp_path / f"out.{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == ["long.wav"]


@pytest.mark.parametrize(
    "wave, rate, sentence",
    [
        (np.zeros((900, 2)), 16000, r"\[900, 2\], which looks .* transpose it"),
        (np.zeros((3, 4000, 100)), 16000, r"\[3, 4000, 100\], .* transpose it"),
        (np.zeros(0), 16000, "needs at least one sample"),
        (np.zeros(9, "int8"), 16000, "samples are int8; give floating"),
        ([0.0, 1.0], 16000, "is a list; give a NumPy array"),
        (np.zeros(9), 0, "sample rate is 0; it must be"),
    ],
)
def test_bad_arrays_get_a_sentence(identity, wave, rate, sentence):
    with pytest.raises(UserError, match=sentence):
        identity.enhance(wave, rate)
    with pytest.raises(UserError, match="strength is 2; it must be from 0"):
        identity.enhance(np.zeros(9), 16000, strength=2)
