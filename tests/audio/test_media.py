"""Videos and audio files of FFmpeg's keep all but the noise."""

import os
import re
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import SPEECH, decibels, enhancer_of, names
from mutagen.flac import FLAC

from phasen_sb.archives.inputs import find_inputs, hint_at_media
from phasen_sb.audio.reading import check_whole, open_audio, read_samples
from phasen_sb.errors import UserError
from phasen_sb.inference.output_paths import name_outputs

av = pytest.importorskip("av")
RATE, PICTURES = 48000, 25
#: Pictures that are white, and begin with a beep.
FLASHES = (20, 60)


@pytest.fixture(scope="module")
def halved():
    """An Enhancer whose output is half its input."""
    return enhancer_of(lambda wave: 0.5 * wave)


def make_sound():
    """4 s of speech with beeps that begin at the flashes, ``[samples]``."""
    speech = np.concatenate([sf.read(path)[0] for path in SPEECH])
    sound = 0.2 * np.repeat(speech, RATE // 16000)[: 4 * RATE]
    time = np.arange(RATE // 10) / RATE
    for flash in FLASHES:
        first = flash * RATE // PICTURES
        beep = 0.7 * np.sin(2 * np.pi * 3000 * time)
        sound[first : first + len(beep)] = beep
    return sound


def write_video(
    path, codec="aac", video="libx264", late=0.0, gap=(), second=False
):
    """A video of 4 s that flashes white where it beeps.

    Its sound begins at ``late`` (s), and none is written during the pictures
    of ``gap``.
    """
    sound = make_sound().astype(np.float32)
    with av.open(str(path), "w") as file:
        file.metadata.update({"title": "Gespräch", "artist": "Anna"})
        pictures = file.add_stream(video, PICTURES)
        pictures.width, pictures.height = 160, 96
        tracks = [file.add_stream(codec, RATE) for _ in range(1 + second)]
        for track in tracks:
            track.layout = "mono"
            track.metadata["language"] = "deu"
        y, x = np.mgrid[:96, :160]
        for i in range(4 * PICTURES):
            pattern = np.stack([(x + i) % 256, (y * 2) % 256, x * 0 + 60], -1)
            if i in FLASHES:
                pattern[:] = 255
            frame = av.VideoFrame.from_ndarray(pattern.astype(np.uint8))
            frame.pts, frame.time_base = i, Fraction(1, PICTURES)
            file.mux(pictures.encode(frame))
            if i < late * PICTURES or i in gap:
                continue
            at = i * RATE // PICTURES
            block = sound[None, at : at + RATE // PICTURES]
            frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
            frame.sample_rate, frame.pts = RATE, at
            frame.time_base = Fraction(1, RATE)
            for track in tracks:
                file.mux(track.encode(frame))
        for stream in (pictures, *tracks):
            file.mux(stream.encode(None))
    return path


def read_all(path):
    """Samples ``[n]`` from time 0 on, with silence before the sound."""
    with open_audio(path) as file:
        samples = read_samples(file, -1)[:, 0]
        check_whole(file, len(samples))
        return np.append(np.zeros(round(file.start * RATE)), samples)


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
    "name, codec, video, late",
    [
        ("talk.mp4", "aac", "libx264", 0.4),
        ("talk.mov", "pcm_s16le", "libx264", 0.0),
        ("talk.mkv", "aac", "libx264", 0.4),
        ("talk.webm", "libopus", "libvpx-vp9", 0.0),
    ],
)
def test_video_keeps_pictures_titles_and_sync(
    halved, tmp_path, name, codec, video, late
):
    source = write_video(tmp_path / name, codec, video, late)
    check_sync(source)
    result = halved.enhance_file(source)
    suffix = source.suffix
    assert names(tmp_path) == [f"talk.enhanced{suffix}", f"talk{suffix}"]
    assert result.notes() == []
    assert read_packets(result.target) == read_packets(source)
    check_sync(result.target)
    with (
        av.open(str(source)) as before,
        av.open(str(result.target)) as after,
    ):
        tags = {k.lower(): v for k, v in after.metadata.items()}
        assert tags["title"] == "Gespräch" and tags["artist"] == "Anna"
        languages = [f.streams.audio[0].language for f in (before, after)]
        assert languages[0] == languages[1]
    noisy, half = read_all(source), read_all(result.target)
    count = min(len(noisy), len(half))
    assert count > 3.95 * RATE and abs(len(half) - len(noisy)) <= 1024
    # An MP4 says in ms when the sound begins.
    assert decibels(half[:count] - 0.5 * noisy[:count], noisy[:count]) < -20


def test_gaps_become_silence_and_further_tracks_are_kept(halved, tmp_path):
    source = write_video(tmp_path / "talk.mkv", gap=range(30, 45), second=True)
    result = halved.enhance_file(source)
    check_sync(result.target)
    noise = read_all(result.target)[round(1.25 * RATE) : round(1.75 * RATE)]
    assert np.abs(noise).max() < 1e-3
    assert "track 3 (audio) is a further sound track" in result.notes()[0]

    def second_track(path):
        with av.open(str(path)) as file:
            track = file.streams.audio[1]
            return [bytes(packet) for packet in file.demux(track)]

    assert second_track(result.target) == second_track(source)


@pytest.mark.parametrize("name", ["m4a", "aac", "wma", "mka", "webm"])
def test_audio_files_keep_format_and_place(halved, tmp_path, name):
    wav = tmp_path / "talk.wav"
    sf.write(wav, make_sound()[::3], RATE // 3)
    first = halved.enhance_file(wav, tmp_path / f"talk.{name}").target
    second = halved.enhance_file(first).target
    with open_audio(first) as a, open_audio(second) as b:
        assert (a.format, a.subtype) == (b.format, b.subtype)
        whole, quarter = read_samples(a, -1), read_samples(b, -1)
    assert len(whole) == len(quarter)
    if name == "m4a":
        assert len(whole) == sf.info(wav).frames
    inner = slice(2000, -2000)
    assert decibels((quarter - 0.5 * whole)[inner], whole[inner]) < -25


def test_lossless_sound_and_wrong_names(tmp_path):
    same = enhancer_of(lambda wave: wave)
    wav = tmp_path / "talk.wav"
    sf.write(wav, make_sound(), RATE)
    alac = same.enhance_file(wav, tmp_path / "a.m4a", format="m4a:alac").target
    # As a telephone may call it; and the sound alone, as FLAC.
    called_wav = alac.rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    for target in ("b.wav", "b.flac"):
        result = same.enhance_file(called_wav, tmp_path / target).target
        assert sf.info(result).format in ("WAV", "FLAC")
        assert np.array_equal(sf.read(result)[0], sf.read(wav)[0])


def test_files_that_are_called_m4a(halved, tmp_path):
    for kind in ("MP3", "FLAC", "OGG", "WAV"):
        path = tmp_path / f"{kind}.m4a"
        sf.write(path, make_sound(), RATE, format=kind)
        result = halved.enhance_file(path, normalize=True, residual=True)
        assert result.seconds == pytest.approx(4, abs=0.1)
        with av.open(str(result.target)) as file:
            assert file.format.name.startswith("mov")
    found, others = find_inputs([tmp_path])
    assert len(found) == 4 and not others
    # As a shell lists them.
    assert len(find_inputs(sorted(tmp_path.iterdir()))[0]) == 4


def test_tags_from_and_to_flac(halved, tmp_path):
    flac = tmp_path / "talk.flac"
    with sf.SoundFile(flac, "w", RATE, 1) as file:
        file.title = "Gespräch"
        file.write(make_sound())
    m4a = halved.enhance_file(flac, tmp_path / "talk.m4a").target
    back = halved.enhance_file(m4a, tmp_path / "back.flac").target
    with open_audio(m4a) as first, open_audio(back) as second:
        assert first.copy_metadata() == second.copy_metadata()
        assert first.copy_metadata()["title"] == "Gespräch"


def test_a_cover_goes_to_flac_and_is_missed_in_wav(halved, tmp_path):
    m4a = tmp_path / "talk.m4a"
    with av.open(m4a, "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=RATE)
        cover = file.add_stream("png", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt = "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        file.mux([*cover.encode(picture), *cover.encode(None)])
        samples = make_sound()[None].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, "fltp", "mono")
        frame.sample_rate = RATE
        file.mux([*sound.encode(frame), *sound.encode(None)])
    with open_audio(m4a) as file:
        [(kind, png)] = file.read_covers()
    assert kind == "image/png" and png.startswith(b"\x89PNG")
    result = halved.enhance_file(m4a, tmp_path / "talk.flac")
    [kept] = FLAC(result.target).pictures
    assert kept.data == png and kept.mime == kind and not result.remarks
    result = halved.enhance_file(m4a, tmp_path / "talk.wav")
    assert "no place for it: cover" in result.notes()[0]
    assert not halved.enhance_file(m4a, tmp_path / "again.m4a").notes()


@pytest.mark.parametrize("said", [b"5", b"x:y:z", b"inf:0:0"])
def test_a_length_that_is_no_time(tmp_path, said):
    path = tmp_path / "odd.mkv"
    write_video(path)
    data, number = re.subn(
        rb"\d\d:\d\d:\d\d\.\d{9}", said.ljust(18, b"\0"), path.read_bytes()
    )
    assert number
    path.write_bytes(data)
    assert len(read_all(path))


def test_a_failure_leaves_nothing_behind(halved, tmp_path):
    video = write_video(tmp_path / "talk.mkv")

    def stop(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halved.enhance_file(video, progress=stop, residual=True)
    with pytest.raises(UserError, match="webm.*mkv"):  # has no H.264
        halved.enhance_file(video, tmp_path / "talk.webm")
    (tmp_path / "cut.mkv").write_bytes(video.read_bytes()[:30000])
    with pytest.raises(UserError, match="cut.mkv is cut short"):
        halved.enhance_file(tmp_path / "cut.mkv")
    # A list of other files and addresses is not a video.
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:9,\n{video}\n")
    with pytest.raises(UserError, match="list.mp4 cannot be decoded"):
        halved.enhance_file(tmp_path / "list.mp4")
    assert names(tmp_path) == ["cut.mkv", "list.mp4", "talk.mkv"]


def test_without_the_extra(halved, tmp_path, monkeypatch):
    video = write_video(tmp_path / "talk.mp4")
    sf.write(tmp_path / "talk.wav", np.zeros(100), RATE)
    assert len(find_inputs([tmp_path])[0]) == 2
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r'pip install "phasen_sb\[media\]"'):
        halved.enhance_file(video)
    with pytest.raises(UserError, match=r'pip install "phasen_sb\[media\]"'):
        halved.enhance_file(tmp_path / "talk.wav", tmp_path / "o.m4a")
    hint = r'to read .mp4, run pip install "phasen_sb\[media\]"'
    found, others = find_inputs([tmp_path])
    assert len(found) == 1 and re.fullmatch(hint, hint_at_media(others))
    for output, format in (("o.m4a", None), (None, "mkv:flac")):
        with pytest.raises(UserError, match=r'run pip install "phasen_sb\['):
            name_outputs(found, output, format)
    with pytest.raises(UserError, match=r'run pip install "phasen_sb\['):
        open_audio(video.rename(tmp_path / "called.wav"))
    (tmp_path / "talk.wav").rename(tmp_path / "called.m4a")
    with open_audio(tmp_path / "called.m4a") as file:
        assert file.format == "WAV"
    (tmp_path / "in").mkdir()
    (tmp_path / "called.wav").rename(tmp_path / "in/talk.mp4")
    with pytest.raises(UserError, match=f"no audio.*or {hint}"):
        find_inputs([tmp_path / "in"])
