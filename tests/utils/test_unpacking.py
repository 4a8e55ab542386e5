"""Archives are unpacked, by old versions of Python, too, and into a folder."""

import io
import tarfile

import pytest

from phasen_sb.utils.files import unpack_tar


def write(path, name):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))


def test_it_unpacks_without_the_filters_of_newer_versions(
    tmp_path, monkeypatch
):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    write(tmp_path / "a.tar.gz", "inner/file")
    unpack_tar(tmp_path / "a.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "inner" / "file").read_bytes() == b"abc"


@pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="an old version of Python"
)
def test_nothing_is_written_outside_of_the_folder(tmp_path):
    write(tmp_path / "a.tar.gz", "../escaped")
    with pytest.raises(tarfile.TarError):
        unpack_tar(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "escaped").exists()
