"""Files of every kind go through enhancement and come out as they should."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import nn

from phasen_sb import ConvISTFT, ConvSTFT, PhasenEnhancer
from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.errors import UserError
from phasen_sb.export.description import describe, tagged
from phasen_sb.export.folder import build, write_export
from phasen_sb.export.runs import TrainedModel
from phasen_sb.inference.chunks import ChunkPlan
from phasen_sb.inference.jobs import enhance_files, find_inputs, name_outputs
from phasen_sb.inference.pretrained import Enhancer

SPEECH = sorted((sample_corpus() / "noisy_testset_wav_16k").glob("*.flac"))
FRONT_END = {
    "sample_rate": 16000,
    "win_length": 16,
    "hop_length": 8,
    "n_fft": 256,
}


class Model(nn.Module):
    """What an enhancer looks like to SpeechBrain, around a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, wave):
        return self.function(wave), None


def enhancer_of(function, step=2):
    enhancer = Enhancer(
        {"enhance_model": Model(function)}, {"sample_rate": 16000}
    )
    enhancer.plan = ChunkPlan(step)
    return enhancer


@pytest.fixture(scope="module")
def identity():
    return enhancer_of(lambda wave: wave)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A small PHASEN, untrained, as `phasen export` writes it."""
    torch.manual_seed(0)
    node = tagged(
        "!new:phasen_sb.PhasenEnhancer",
        stft=tagged("!new:phasen_sb.ConvSTFT", **FRONT_END),
        istft=tagged("!new:phasen_sb.ConvISTFT", **FRONT_END),
        network=tagged(
            "!new:phasen_sb.PHASEN",
            n_fft=256,
            amplitude_channels=3,
            phase_channels=3,
            blocks=2,
            recurrent_units=6,
            dense_units=8,
            attention_channels=1,
        ),
    )
    state = build(describe(node, 16000))["enhance_model"].state_dict()
    folder = tmp_path_factory.mktemp("models") / "small"
    return write_export(TrainedModel(node, 16000, state, "test"), folder)


@pytest.fixture(scope="module")
def small(model_folder):
    return Enhancer.from_pretrained(model_folder, "cpu", "fp32")


@pytest.fixture(scope="module")
def speech():
    """6 s of noisy speech at 16 kHz."""
    return np.concatenate([sf.read(path)[0] for path in SPEECH])[:96000]


def phasen(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "phasen_sb.cli", *map(str, arguments)],
        capture_output=True,
        **options,
    )


def decibels(difference, reference):
    return 10 * np.log10(
        np.square(difference).sum() / np.square(reference).sum()
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


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
        ("wav", "FLOAT", 20),
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
    source = tmp_path / f"noise.{suffix}"
    noise = np.random.default_rng(0).uniform(-1, 1, (12345, channels))
    with sf.SoundFile(source, "w", 44100, channels, subtype) as file:
        if suffix == "wav":
            file.title = "Interview"
        file.write(noise)
    result = identity.enhance_file(source)
    before, after = sf.info(source), sf.info(result.target)
    for fact in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, fact) == getattr(before, fact), fact
    assert np.array_equal(
        sf.read(result.target, dtype="float64")[0],
        sf.read(source, dtype="float64")[0],
    )
    assert result.over == 0 and result.target.name == f"noise.enhanced.{suffix}"
    if suffix == "wav":
        with sf.SoundFile(result.target) as file:
            assert file.title == "Interview"


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


def test_chunks_give_what_the_whole_file_gives(small, speech):
    with torch.inference_mode():
        wave = torch.from_numpy(speech).float()[None]
        whole = small.enhance_batch(wave)[0].numpy()
    small.plan = ChunkPlan(2)
    chunked = small.enhance(speech, 16000)
    small.plan = ChunkPlan()
    one_chunk = small.enhance(speech, 16000)
    assert decibels(one_chunk - whole, whole) < -90
    assert decibels(chunked - whole, whole) < -40
    assert decibels(whole - speech, whole) > -30, "nothing was enhanced"


def test_level_is_kept_and_does_not_matter(small, speech):
    loud = small.enhance(speech[:40000], 16000)
    quiet = small.enhance(0.001 * speech[:40000], 16000)
    assert decibels(1000 * quiet - loud, loud) < -90


def test_channels_do_not_mix(small, speech):
    left, right = speech[:30000], speech[40000:70000]
    both = small.enhance(np.stack([left, right]), 16000)
    assert np.allclose(both[0], small.enhance(left, 16000), atol=1e-6)
    assert np.allclose(both[1], small.enhance(right, 16000), atol=1e-6)


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


# -------------------------------------------------------------------- bad input


def _cut(path, rate, container, subtype):
    sf.write(path, np.random.randn(60000) / 9, rate, subtype, format=container)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD_FILES = {
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
        r"text.mp3 cannot be decoded as audio \(.+\); convert it to WAV",
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
    "cut.wav": (
        lambda path: _cut(path, 16000, "WAV", "PCM_16"),
        r"cut.wav is cut short: 29989 of its 60000 samples are there",
    ),
    "cut.aiff": (
        lambda path: _cut(path, 16000, "AIFF", "PCM_16"),
        r"cut.aiff is cut short: \d+ of its 60000 samples are there",
    ),
    "cut.flac": (
        lambda path: _cut(path, 16000, "FLAC", "PCM_16"),
        r"cut.flac is (cut short|damaged)",
    ),
    "cut.mp3": (
        lambda path: _cut(path, 16000, "MP3", "MPEG_LAYER_III"),
        r"cut.mp3 is (cut short|damaged)",
    ),
    "cut.ogg": (
        lambda path: _cut(path, 16000, "OGG", "VORBIS"),
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
    for target, sentence in (
        (source, "is the input itself"),
        (other, "exists already; give --overwrite"),
        (tmp_path, "is a folder; give an output file"),
        (Path("/proc/out.wav"), "/proc/out.wav cannot be written"),
        (other / "c.wav", "cannot be written"),
        (tmp_path / "d.xyz", "The format 'xyz' is unknown"),
    ):
        with pytest.raises(UserError, match=sentence):
            identity.enhance_file(source, target)
    with pytest.raises(UserError, match="is the input itself"):
        identity.enhance_file(source, source, overwrite=True)
    assert names(tmp_path) == ["a.wav", "b.wav"]
    with pytest.raises(UserError, match="takes no 64 channel"):
        wide = tmp_path / "wide.wav"
        sf.write(wide, np.zeros((9, 64)), 16000)
        identity.enhance_file(wide, format="mp3")
    assert names(tmp_path) == ["a.wav", "b.wav", "wide.wav"]


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


def test_interrupt_leaves_nothing(identity, tmp_path):
    source = tmp_path / "long.wav"
    sf.write(source, np.zeros(160000), 16000)

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        identity.enhance_file(source, progress=interrupt)
    assert names(tmp_path) == ["long.wav"]


@pytest.mark.parametrize(
    "wave, rate, sentence",
    [
        (np.zeros((4000, 2)), 16000, r"\[4000, 2\], which looks like \[samp"),
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


# ---------------------------------------------------------------- many files


@pytest.mark.parametrize("jobs", [1, 2])
def test_folder_is_mirrored_resumed_and_survives_a_bad_file(
    identity, tmp_path, jobs
):
    noisy = tmp_path / "noisy"
    (noisy / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/b.flac", "c.enhanced.wav"):
        sf.write(noisy / name, np.zeros(20000), 16000)
    (noisy / "bad.wav").write_text("no sound")
    pairs = name_outputs(find_inputs([noisy]), tmp_path / "out")
    report = enhance_files(identity, pairs, jobs, progress=False)
    assert {file.target.name for file in report.done} == {"a.wav", "b.flac"}
    assert list(report.failed) == [noisy / "bad.wav"]
    (tmp_path / "out" / "deep" / "b.flac").unlink()
    report = enhance_files(identity, pairs, jobs, progress=False)
    assert [file.target.name for file in report.done] == ["b.flac"]
    assert report.kept == [tmp_path / "out" / "a.wav"]


def test_inputs_that_cannot_be_told_apart(tmp_path):
    for name in ("a.wav", "a.flac"):
        sf.write(tmp_path / name, np.zeros(10), 16000)
    assert len(find_inputs([f"{tmp_path}/*.wav", tmp_path])) == 2
    with pytest.raises(UserError, match="would both be written to"):
        name_outputs(find_inputs([tmp_path]), "out", "flac")
    with pytest.raises(UserError, match="No file matches"):
        find_inputs([f"{tmp_path}/*.mp3"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no audio files"):
        find_inputs([tmp_path / "empty"])


# --------------------------------------------------------------- command line


def test_command_enhances_a_stereo_file_and_refuses_to_overwrite(
    model_folder, tmp_path
):
    speech, rate = sf.read(SPEECH[0])
    source = tmp_path / "talk.wav"
    sf.write(source, np.stack([speech, 0.5 * speech], 1), 2 * rate, "PCM_24")
    command = ("enhance", source, "--model", model_folder, "--device", "cpu")
    first = phasen(*command, "--strength", "0.9")
    assert first.returncode == 0, first.stderr
    assert b"real-time factor" in first.stderr
    info = sf.info(tmp_path / "talk.enhanced.wav")
    assert (info.samplerate, info.channels) == (2 * rate, 2)
    assert (info.frames, info.subtype) == (len(speech), "PCM_24")
    second = phasen(*command)
    assert second.returncode == 1
    assert second.stderr.decode().count("\n") == 1
    assert b"exists already" in second.stderr


def test_command_streams_from_stdin_to_stdout(model_folder, tmp_path):
    speech, rate = sf.read(SPEECH[0], dtype="int16")
    sf.write(tmp_path / "in.wav", speech, rate)
    stream = bytearray((tmp_path / "in.wav").read_bytes())
    stream[40:44] = b"\xff" * 4  # A recorder that pipes knows no length.
    result = phasen(
        *("enhance", "-", "--model", model_folder, "--strength", "0"),
        input=bytes(stream),
    )
    assert result.returncode == 0, result.stderr
    (tmp_path / "out.wav").write_bytes(result.stdout)
    assert np.array_equal(
        sf.read(tmp_path / "out.wav", dtype="int16")[0], speech
    )


def test_command_without_a_model_tells_how_to_get_one(tmp_path):
    result = phasen("enhance", SPEECH[0])
    assert result.returncode == 1
    message = result.stderr.decode()
    assert message.count("\n") == 1
    assert "recipes/train.py hparams/phasen.yaml" in message
    assert "phasen export" in message
    typo = phasen("enhance", SPEECH[0], "--model", tmp_path / "modle")
    assert typo.returncode == 1 and b"There is no folder" in typo.stderr


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
