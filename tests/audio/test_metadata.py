"""What else is in a file is in the enhanced file too, or named as lost."""

import struct

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import enhancer_of
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, CHAP, ID3, TIT2
from mutagen.oggopus import OggOpus

from phasen_sb.audio.formats import AudioFormat
from phasen_sb.audio.writing import SIZE_LIMIT, AudioWriter
from phasen_sb.errors import UserError

WAVE = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
BEXT = (
    b"SCENE 12".ljust(338, b"\0") + struct.pack("<Q", 1234567890) + bytes(256)
)
CHUNKS = {
    b"bext": BEXT,
    b"iXML": b"<BWFXML><SCENE>12</SCENE></BWFXML>",
    b"cue ": struct.pack("<7I", 1, 1, 500, 0x61746164, 0, 0, 500),
    b"LIST": b"INFOINAM\4\0\0\0abc\0",
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.fixture(scope="module")
def identity():
    return enhancer_of(lambda wave: wave)


def add_chunks(path, chunks, front=False):
    data = path.read_bytes()
    added = b"".join(
        name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        for name, body in chunks.items()
    )
    data = data[:12] + added + data[12:] if front else data + added
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])


def read_chunks(path):
    data, position, chunks = path.read_bytes(), 12, {}
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    while position < len(data):
        size = struct.unpack("<I", data[position + 4 : position + 8])[0]
        body = data[position + 8 : position + 8 + size]
        assert chunks.setdefault(data[position : position + 4], body) == body
        position += 8 + size + size % 2
    return chunks


@pytest.mark.parametrize("front", [True, False])
def test_chunks_of_a_wav_are_kept(identity, tmp_path, front):
    source = tmp_path / "a.wav"
    sf.write(source, WAVE, 16000)
    add_chunks(source, CHUNKS, front)
    result = identity.enhance_file(source)
    kept = read_chunks(result.target)
    assert {name: kept[name] for name in CHUNKS} == CHUNKS
    assert not result.notes()
    with sf.SoundFile(result.target) as file:
        assert file.title == "abc" and len(file.read()) == len(WAVE)


def test_chunks_without_a_place_are_named(identity, tmp_path):
    source = tmp_path / "a.wav"
    sf.write(source, WAVE, 16000)
    add_chunks(source, CHUNKS)
    result = identity.enhance_file(source, format="flac")
    assert "FLAC has no place for it: bext chunk, iXML" in result.notes()[0]
    assert FLAC(result.target)["title"] == ["abc"]


@pytest.mark.parametrize(
    "appended, start, container, endian",
    [
        (0, b"RIFF", "WAV", "FILE"),
        (4000, b"RF64", "WAV", "FILE"),
        (4000, b"RF64", "WAV", "BIG"),
        (4000, b"RF64", "WAVEX", "FILE"),
    ],
)
def test_chunks_count_for_the_limit_of_wav(
    tmp_path, appended, start, container, endian
):
    path = tmp_path / "a.wav"
    kind = AudioFormat(container, "PCM_16", endian)
    samples = (SIZE_LIMIT - 2000) // 2
    with AudioWriter(path, 16000, 1, kind, samples, appended=appended) as file:
        file.write(WAVE[:10, None])
    assert path.read_bytes()[:4] == start


def test_aiff_above_4_gib_is_refused_before_it_is_written(tmp_path):
    path = tmp_path / "a.aiff"
    with pytest.raises(UserError, match="AIFF goes up to 4 GiB.*take 4.0 GiB"):
        AudioWriter(path, 16000, 2, AudioFormat("AIFF", "PCM_16"), 2**30)
    assert not any(tmp_path.iterdir())


def picture():
    cover = Picture()
    cover.mime, cover.type, cover.data = "image/png", 3, PNG
    return cover


def test_tags_and_cover_of_a_flac(identity, tmp_path):
    source = tmp_path / "a.flac"
    sf.write(source, WAVE, 16000)
    file = FLAC(source)
    file["title"], file["mood"] = "Gespräch", ["ernst", "lang"]
    back = picture()
    back.type, back.data = 4, PNG + b"back"
    for one in (picture(), back):
        file.add_picture(one)
    file.save()
    kept = FLAC(identity.enhance_file(source).target)
    assert kept["title"] == ["Gespräch"] and kept["mood"] == ["ernst", "lang"]
    assert [one.data for one in kept.pictures] == [PNG, back.data]
    result = identity.enhance_file(source, format="mp3")
    tags = ID3(result.target)
    assert tags["TIT2"].text == ["Gespräch"]
    covers = {int(one.type): one.data for one in tags.getall("APIC")}
    assert covers == {3: PNG, 4: back.data}
    assert len(sf.read(result.target)[0]) == len(WAVE)
    assert not [note for note in result.notes() if "mood" in note]
    result = identity.enhance_file(source, format="wav")
    assert "no place for it: tag mood, cover" in result.notes()[0]


def test_tags_that_id3_has_no_place_for_do_not_end_the_work(identity, tmp_path):
    path = tmp_path / "a.flac"
    sf.write(path, WAVE, 16000)
    file = FLAC(path)
    file["title"] = "song"
    file["musicbrainz_trackid"] = ["one", "two"]
    file.save()
    result = identity.enhance_file(path, format="mp3")
    assert ID3(result.target)["TIT2"].text == ["song"]


def test_tags_and_cover_of_an_mp3(identity, tmp_path):
    source = tmp_path / "a.mp3"
    sf.write(source, WAVE, 16000)
    tags = ID3()
    tags.add(TIT2(encoding=3, text="Gespräch"))
    tags.add(APIC(mime="image/png", type=3, data=PNG))
    tags.add(CHAP(element_id="one", start_time=0, end_time=500))
    tags.save(source)
    kept = ID3(identity.enhance_file(source).target)
    assert kept["TIT2"].text == ["Gespräch"] and "CHAP:one" in kept
    assert kept.getall("APIC")[0].data == PNG
    kept = FLAC(identity.enhance_file(source, format="flac").target)
    assert kept["title"] == ["Gespräch"]
    assert kept.pictures[0].data == PNG


def test_cover_of_an_opus_file(identity, tmp_path):
    source = tmp_path / "a.opus"
    sf.write(source, WAVE, 48000, "OPUS", format="OGG")
    sf.write(tmp_path / "a.flac", WAVE, 48000)
    file = FLAC(tmp_path / "a.flac")
    file.add_picture(picture())
    file.save()
    result = identity.enhance_file(tmp_path / "a.flac", source, overwrite=True)
    assert "metadata_block_picture" in OggOpus(result.target)
    again = OggOpus(identity.enhance_file(source).target)
    assert "metadata_block_picture" in again
    assert len(sf.read(source)[0]) == len(WAVE)


def test_the_suffix_decides_what_is_written(identity, tmp_path):
    source = tmp_path / "a.wav"
    sf.write(source, WAVE, 16000, format="MP3")
    result = identity.enhance_file(source, tmp_path / "wanted.wav")
    assert sf.info(result.target).format == "WAV"
    assert "contains MP3" in result.notes()[0]
    sf.write(tmp_path / "b.mp3", WAVE, 16000, "PCM_16", format="WAV")
    result = identity.enhance_file(tmp_path / "b.mp3")
    assert sf.info(result.target).format == "MP3"


def test_vorbis_in_one_long_chunk_does_not_end_the_process(tmp_path):
    # In one call of libsndfile these samples overflow the stack.
    target = tmp_path / "a.ogg"
    vorbis = AudioFormat("OGG", "VORBIS")
    with AudioWriter(target, 48000, 1, vorbis, 4 * 10**6) as writer:
        writer.write(np.zeros((4 * 10**6, 1)))
    assert sf.info(target).frames == 4 * 10**6
