"""Packs of training audio: what comes out, and what is wrong with a pack."""

import tarfile

import numpy as np
import pytest
import soundfile as sf
import torch

from phasen_sb.data.pack import read_pack
from phasen_sb.errors import UserError


def tone(seconds, rate=16000):
    time = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * 440 * time).astype("float32")


@pytest.fixture
def pack(tmp_path):
    """A second of speech, and two of noise."""
    folder = tmp_path / "pack"
    for part, seconds in (("speech", 1), ("noise", 2)):
        (folder / part).mkdir(parents=True)
        sf.write(folder / part / "a.wav", tone(seconds), 16000)
    return folder


def test_opus_at_48_khz_is_resampled(pack):
    sf.write(
        pack / "speech" / "b.opus",
        np.stack([tone(1, 48000)] * 2, 1),  # stereo, too
        48000,
        format="OGG",
        subtype="OPUS",
    )
    wave, opus = read_pack(pack)["speech"]
    assert wave.dtype == opus.dtype == torch.int16
    assert len(wave) == len(opus) == 16000
    difference = (wave - opus)[2000:-2000].float()
    assert difference.square().mean() < 1e-3 * wave.float().square().mean()
    assert abs(int(wave.max()) - 0.5 * 2**15) < 20


def test_the_index_cuts_recordings_out(pack):
    rows = "noise/a.wav,0.5,0.25\nnoise/a.wav,1,1\n"
    (pack / "index.csv").write_text(f"file,start,length\n{rows}")
    found = read_pack(pack)
    assert [len(x) for x in found["noise"]] == [4000, 16000]
    whole = torch.from_numpy(sf.read(pack / "noise/a.wav", dtype="int16")[0])
    assert torch.equal(found["noise"][1], whole[16000:])
    assert [len(x) for x in found["speech"]] == [16000]


@pytest.mark.parametrize("inner", ["", "pack"])
def test_an_archive_is_unpacked(inner, pack, tmp_path):
    path = tmp_path / "pack.tar"
    with tarfile.open(path, "w") as archive:
        for part in ("speech", "noise"):
            archive.add(pack / part, f"{inner}/{part}".lstrip("/"))
    expected, found = read_pack(pack), read_pack(path)
    assert {child.name for child in tmp_path.iterdir()} == {"pack", "pack.tar"}
    for part in ("speech", "noise"):
        assert torch.equal(found[part][0], expected[part][0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("noise/a.wav,1.5,1", "has no 1 s at 1.5 s"),
        ("noise/a.wav,-1,1", "has no 1 s at -1 s"),
        ("noise/b.wav,0,1", "names noise/b.wav, which is not there"),
        ("noise/a.wav,0,long", "must have file, start and length"),
        ("noise/a.wav,1,0", "a recording of no length at 1 s"),
    ],
)
def test_a_wrong_index_is_named(row, message, pack):
    (pack / "index.csv").write_text(f"file,start,length\n{row}\n")
    with pytest.raises(UserError, match=message):
        read_pack(pack)


def test_what_a_pack_lacks_is_named(pack, tmp_path):
    with pytest.raises(UserError, match="There is no pack"):
        read_pack(tmp_path / "other")
    sf.write(pack / "speech" / "c.wav", tone(0), 16000)
    with pytest.raises(UserError, match=r"c\.wav holds no audio"):
        read_pack(pack)
    (pack / "speech" / "c.wav").unlink()
    (pack / "speech" / "b.opus").write_bytes(b"OggS")
    with pytest.raises(UserError, match=r"b\.opus cannot be read"):
        read_pack(pack)
    (tmp_path / "pack.tar").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_pack(tmp_path / "pack.tar")
    (pack / "noise" / "a.wav").unlink()
    with pytest.raises(UserError, match=r"noise has no audio; a pack has"):
        read_pack(pack)
