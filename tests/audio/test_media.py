"""Videos and audio files of FFmpeg's keep all but the noise."""

import importlib.util
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import SPEECH, decibels, enhancer_of, names

from phasen_sb.audio.reading import open_audio, read_samples
from phasen_sb.errors import UserError
from phasen_sb.inference.paths import find_inputs

av = pytest.importorskip("av")
RATE, PICTURES = 48000, 25
#: Pictures that are white, and begin with a beep.
FLASHES = (20, 60)


@pytest.fixture(scope="module")
def halved():
    """An Enhancer whose output is half its input."""
    return enhancer_of(lambda wave: 0.5 * wave)


def make_sound(seconds=4.0):
    """Speech with beeps that begin at the flashes, ``[samples]``."""
    speech = np.concatenate([sf.read(path)[0] for path in SPEECH])
    sound = 0.2 * np.repeat(speech, RATE // 16000)[: round(seconds * RATE)]
    time = np.arange(RATE // 10) / RATE
    for flash in FLASHES:
        first = flash * RATE // PICTURES
        beep = 0.7 * np.sin(2 * np.pi * 3000 * time)
        sound[first : first + len(beep)] = beep
    return sound


def write_video(
    path,
    codec="aac",
    video="libx264",
    sound_start=0.0,
    gap=None,
    second=False,
    subtitles=None,
    sound=None,
    tags=None,
):
    """A video of 4 s that flashes white where it beeps."""
    sound = make_sound() if sound is None else sound
    with av.open(str(path), "w") as file:
        file.metadata.update(tags or {"title": "Gespräch", "artist": "Anna"})
        pictures = file.add_stream(video, PICTURES)
        pictures.width, pictures.height = 160, 96
        pictures.pix_fmt = "yuv420p"
        tracks = [file.add_stream(codec, RATE) for _ in range(1 + second)]
        for track in tracks:
            track.layout = "mono"
        tracks[0].metadata["language"] = "deu"
        y, x = np.mgrid[:96, :160]
        for i in range(4 * PICTURES):
            shade = np.stack([(x + i) % 256, (y * 2) % 256, x * 0 + 60], -1)
            if i in FLASHES:
                shade[:] = 255
            frame = av.VideoFrame.from_ndarray(shade.astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, PICTURES)
            file.mux(pictures.encode(frame))
            at = i * RATE // PICTURES
            block = sound[at : at + RATE // PICTURES]
            first = at - round(sound_start * RATE)
            if i * RATE // PICTURES < sound_start * RATE or not len(block):
                continue
            if gap and gap[0] <= i < gap[1]:
                continue
            frame = av.AudioFrame.from_ndarray(
                block[None].astype(np.float32), "fltp", "mono"
            )
            del first
            frame.sample_rate, frame.pts = RATE, at
            frame.time_base = Fraction(1, RATE)
            for track in tracks:
                file.mux(track.encode(frame))
        for stream in (pictures, *tracks):
            file.mux(stream.encode(None))
    return path


def read_packets(path, kind="video"):
    with av.open(str(path)) as file:
        return [
            bytes(p) for p in file.demux(getattr(file.streams, kind)) if p.size
        ]


def find_flashes(path):
    """Times (s) at which white pictures are shown."""
    with av.open(str(path)) as file:
        return [
            float(frame.time)
            for frame in file.decode(video=0)
            if frame.to_ndarray(format="gray").mean() > 200
        ]


def find_beeps(path):
    """Times (s) at which beeps begin, by the players' clock."""
    with av.open(str(path)) as file:
        frames = list(file.decode(audio=0))
    times = np.concatenate(
        [
            float(f.pts * f.time_base) + np.arange(f.samples) / f.sample_rate
            for f in frames
        ]
    )
    samples = np.concatenate([f.to_ndarray()[0] for f in frames])
    # The beep's band, and its onset.
    spectrum = samples * np.exp(-2j * np.pi * 3000 * times)
    power = np.abs(np.convolve(spectrum, np.ones(480) / 480, "same"))
    loud = power > 0.5 * power.max()
    onsets = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    return [float(times[i]) for i in onsets]


def check_sync(path):
    flashes, beeps = find_flashes(path), find_beeps(path)
    assert len(flashes) == len(beeps) == 2
    assert np.allclose(flashes, beeps, atol=0.5 / PICTURES), (flashes, beeps)


@pytest.mark.parametrize(
    "name, codec, video",
    [
        ("talk.mp4", "aac", "libx264"),
        ("talk.mov", "pcm_s16le", "libx264"),
        ("talk.mkv", "libopus", "libx264"),
        ("talk.mkv", "aac", "libx264"),
        ("talk.webm", "libopus", "libvpx-vp9"),
    ],
)
@pytest.mark.parametrize("late", [0.0, 0.4])
def test_video_keeps_its_pictures_titles_and_sync(
    halved, tmp_path, name, codec, video, late
):
    source = write_video(tmp_path / name, codec, video, late)
    check_sync(source)
    result = halved.enhance_file(source)
    suffix = source.suffix
    assert names(tmp_path) == [f"talk.enhanced{suffix}", f"talk{suffix}"]
    assert read_packets(result.target) == read_packets(source)
    check_sync(result.target)
    with av.open(str(result.target)) as file:
        tags = {k.lower(): v for k, v in file.metadata.items()}
        assert tags["title"] == "Gespräch" and tags["artist"] == "Anna"
        assert file.streams.audio[0].language in ("deu", "ger")
    with open_audio(source) as before, open_audio(result.target) as after:
        noisy, half = read_samples(before, -1), read_samples(after, -1)
    assert abs(len(half) - len(noisy)) <= 1024
    count = min(len(noisy), len(half))
    assert decibels(half[:count] - 0.5 * noisy[:count], noisy[:count]) < -25
