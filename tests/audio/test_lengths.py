"""Files whose headers give a wrong length are read to their end."""

import io
import logging
import struct
import time

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import enhancer_of

from phasen_sb.audio.checking import inspect_audio
from phasen_sb.audio.mpeg import parse_header
from phasen_sb.audio.reading import check_whole, open_audio, read_blocks
from phasen_sb.data.manifest import read_manifest
from phasen_sb.data.pairs import prepare_pairs
from phasen_sb.errors import UserError
from phasen_sb.scoring.folders import score_folders

SAMPLES = 20000
WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLES)


def encode(container, subtype=None, wave=WAVE, rate=16000, **options):
    file = io.BytesIO()
    sf.write(file, wave, rate, subtype, format=container, **options)
    return file.getvalue()


def with_size(data, chunk, size, offset=4, order="<I"):
    """Overwrites the size of a chunk."""
    place = data.index(chunk) + offset
    packed = struct.pack(order, size)
    return data[:place] + packed + data[place + len(packed) :]


def read_all(path):
    with open_audio(path) as file:
        blocks = [block[:, 0] for block in read_blocks(file)]
        samples = np.concatenate(blocks) if blocks else np.zeros(0)
        check_whole(file, len(samples))
        assert file.frames == len(samples)
        return samples, file.note


WAV, AIFF, AU, CAF, W64, RF64 = map(
    encode, ("WAV", "AIFF", "AU", "CAF", "W64", "RF64")
)
BYTES = 2 * SAMPLES
LIST = b"LIST\x10\0\0\0INFOIART\4\0\0\0abc\0"
WRONG = {
    f"{size:#x}.wav": with_size(WAV, b"data", size)
    for size in (0, 0xFFFFFFFF, 0x80000000, 0x7FFFF000, BYTES + 2, BYTES + 16)
}
WRONG |= {
    "half.wav": with_size(WAV, b"data", BYTES // 2),
    "lacks_2.wav": with_size(WAV, b"data", BYTES - 2),
    "zero_then_list.wav": with_size(WAV, b"data", 0) + LIST,
    "16_more_then_list.wav": with_size(WAV, b"data", BYTES + 16) + LIST,
    "zero.rf64": with_size(RF64, b"ds64", 0, 16, "<q"),
    "unfinished.rf64": with_size(RF64, b"ds64", -1, 16, "<q"),
    "zero.aiff": with_size(AIFF, b"SSND", 0, 4, ">I"),
    "half.aiff": with_size(AIFF, b"SSND", BYTES // 2 + 8, 4, ">I"),
    "pipe.aiff": with_size(AIFF, b"SSND", 0x7F000008, 4, ">I"),
    "half.au": with_size(AU, b".snd", BYTES // 2, 8, ">I"),
    "pipe.au": with_size(AU, b".snd", 0x7FFFFFFF, 8, ">I"),
    "pipe.caf": with_size(CAF, b"data", -1, 4, ">q"),
    "half.caf": with_size(CAF, b"data", BYTES // 2 + 4, 4, ">q"),
    "half.w64": with_size(W64, b"data", BYTES // 2 + 24, 16, "<q"),
    "zero.w64": with_size(W64, b"data", 0, 16, "<q"),
}


@pytest.mark.parametrize("name", WRONG)
def test_all_samples_are_read_and_it_is_said(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(WRONG[name])
    samples, note = read_all(path)
    expected = sf.read(io.BytesIO(WAV))[0]
    assert np.array_equal(samples, expected)
    assert f"{BYTES} bytes of audio are there; all of it is used" in note


RIGHT = {
    "plain": WAV,
    "list": WAV + LIST,
    "zeros": WAV + bytes(2048),
    "id3v1": WAV + b"TAG" + bytes(range(1, 126)),
    "id3v2": WAV + b"ID3\3\0\0\0\0\1\0" + bytes(range(128)),
    "cut_list": WAV + LIST[:-4],
    "one_byte": WAV + b"\1",
    "rf64": RF64,
    "aiff": AIFF + b"NAME\0\0\0\4abcd",
    "caf": CAF,
    "w64": W64,
    "au": AU,
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_follows_the_audio_does_not_become_audio(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(RIGHT[name])
    samples, note = read_all(path)
    assert len(samples) == SAMPLES and note is None


CHUNK = struct.pack(">4sq", b"free", 2**63 - 1)


@pytest.mark.parametrize(
    "data",
    [
        WAV[:12] + bytes(10**7),
        CAF[:8] + CHUNK + CAF[8:],
        with_size(WAV, b"data", 1000) + b"LIST\0\0\0\0" * 8000 + b"12345",
    ],
)
def test_odd_chunks_end_in_seconds(tmp_path, data):
    path = tmp_path / "odd"
    path.write_bytes(data)
    started = time.perf_counter()
    try:
        read_all(path)
    except UserError as error:
        assert "cannot be decoded" in str(error)
    assert time.perf_counter() - started < 8


def test_silence_behind_a_wrong_length_is_audio(tmp_path):
    path = tmp_path / "half.caf"
    half = with_size(CAF, b"data", BYTES // 2 + 4, 4, ">q")
    path.write_bytes(half + bytes(4 * 10**5))
    assert len(read_all(path)[0]) == SAMPLES + 2 * 10**5


def test_the_last_of_joined_files_may_have_any_length(tmp_path):
    path = tmp_path / "joined.wav"
    path.write_bytes(
        WAV
        + with_size(with_size(WAV, b"data", -1 % 2**32), b"RIFF", -1 % 2**32)
    )
    samples, note = read_all(path)
    expected = sf.read(io.BytesIO(WAV))[0]
    assert np.array_equal(samples, np.tile(expected, 2))
    assert "2 recordings" in note and "the last may be cut" in note
    path.write_bytes(WAV + WAV)
    assert "cut" not in read_all(path)[1]


def test_a_wav_above_4_gib_is_read_whole(tmp_path):
    """A sparse file of 5 GB, whose 32-bit size is that modulo 2^32."""
    path = tmp_path / "long.wav"
    size = 5 * 10**9
    start = with_size(WAV, b"data", size % 2**32)
    with open(path, "wb") as file:
        file.write(start)
        file.seek(len(start) - BYTES + size - BYTES)
        file.write(start[-BYTES:] + LIST)
    expected = sf.read(io.BytesIO(WAV))[0]
    with open_audio(path) as file:
        assert file.frames == size // 2
        assert f"{size} bytes of audio are there" in file.note
        assert np.array_equal(file.read(SAMPLES), expected)
        assert not file.read(SAMPLES).any()
        file.seek(size // 2 - SAMPLES)
        assert np.array_equal(file.read(), expected)
        assert file.format == "WAV"


def without_length(flac):
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36
    return flac[:18] + fields.to_bytes(8, "big") + flac[26:]


FLAC, MP3 = encode("FLAC"), encode("MP3")


@pytest.mark.parametrize(
    "data, parts",
    [
        (WAV * 3, 3),
        (AIFF * 2, 2),
        (without_length(FLAC), 1),
        (FLAC * 2, 2),
        (without_length(FLAC) + FLAC, 2),
        (MP3 * 2, 2),
        (MP3 + b"TAG" + bytes(125) + b"ID3\3\0\0\0\0\0\4abcd" + MP3, 2),
        (encode("OGG", "VORBIS") * 3, 3),
        (encode("OGG", "OPUS") * 2, 2),
    ],
    ids=[
        *("wav_3", "aiff_2", "flac_pipe", "flac_2", "flac_pipe_2"),
        *("mp3_2", "mp3_tags", "ogg_3", "opus_2"),
    ],
)
def test_streams_are_read_to_their_end(tmp_path, data, parts):
    path = tmp_path / "stream"
    path.write_bytes(data)
    samples, note = read_all(path)
    one = samples[:SAMPLES]
    assert len(samples) == parts * SAMPLES and one.std() > 0.1
    assert np.corrcoef(samples[-SAMPLES:], one)[0, 1] > 0.99
    with open_audio(path) as file:
        file.seek(SAMPLES * parts - 1000)
        assert np.allclose(file.read(2000), samples[-1000:], atol=1e-6)
    assert ("one behind the other" in note) == (parts > 1)


def frames_of(mp3):
    """The frames without the first, which gives the length."""
    return mp3[parse_header(int.from_bytes(mp3[:4], "big")).size :]


def test_mp3_without_a_length(tmp_path):
    wave = np.tile(WAVE, 6)
    wave[40000:80000] *= 0.0005
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.3}
    mp3 = encode("MP3", "MPEG_LAYER_III", wave, **options)
    path = tmp_path / "a.mp3"
    for data, missing in ((frames_of(mp3), 0), (mp3[5000:], 40000)):
        path.write_bytes(data)
        samples, note = read_all(path)
        assert abs(len(samples) - len(wave) + missing / 2) <= 2304 + missing / 2
        assert note is not None
    path.write_bytes(mp3)
    assert read_all(path)[1] is None
    path = tmp_path / "video.avi"
    path.write_bytes(bytes(len(mp3)) + mp3)
    with pytest.raises(UserError, match="cannot be decoded"):
        open_audio(path)


def test_parts_of_two_rates_are_refused(tmp_path):
    path = tmp_path / "two.mp3"
    path.write_bytes(MP3 + encode("MP3", rate=44100))
    with pytest.raises(UserError, match="of 16000 Hz .+ and 44100 Hz .+ split"):
        open_audio(path)
    assert "split" in inspect_audio(path).problem


def test_enhance_and_score_and_train_read_all_and_say_so(tmp_path, caplog):
    folders = [tmp_path / "noisy", tmp_path / "clean"]
    for folder in folders:
        folder.mkdir()
        for name in "abc":
            (folder / f"{name}.wav").write_bytes(WAV)
    wrong = folders[0] / "a.wav"
    wrong.write_bytes(WRONG["half.wav"])
    result = enhancer_of(lambda wave: wave).enhance_file(wrong)
    assert sf.info(result.target).frames == SAMPLES
    assert f"{BYTES} bytes of audio are there" in result.notes()[0]
    result.target.unlink()
    scores = score_folders(
        str(folders[1]), [str(folders[0])], metrics=["snr"], jobs=1
    )
    assert any(f"{BYTES} bytes" in note for note in scores.notes)
    with caplog.at_level(logging.WARNING):
        prepare_pairs(folders[0], folders[1], tmp_path / "data", jobs=1)
    assert f"{wrong}: its header says" in caplog.text
    for split in ("train", "valid", "test"):
        pairs = read_manifest(tmp_path / "data", split, str(tmp_path))
        for entry in pairs.values():
            assert sf.info(entry["noisy_wav"]).frames == SAMPLES
