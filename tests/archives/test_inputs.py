"""Which files a command's names stand for."""

from pathlib import Path

from phasen_sb.archives.inputs import find_inputs, names_one_file


def test_a_name_with_brackets_is_a_file_if_it_exists(tmp_path):
    path = tmp_path / "take [1].wav"
    assert not names_one_file([str(path)])  # a pattern
    path.touch()
    assert names_one_file([str(path)])
    assert find_inputs([path])[0] == [(path, Path(path.name))]
    assert not names_one_file([tmp_path])


def test_what_is_hidden_or_enhanced_already_is_left_out(tmp_path):
    for name in (
        "b.WAV",
        "a/c.flac",
        ".trash/d.wav",
        ".e.wav",
        "b.enhanced.wav",
        "notes.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(relative) for _, relative in find_inputs([tmp_path])[0]]
    assert found == ["b.WAV", "a/c.flac"]


def test_folders_that_link_to_each_other(tmp_path):
    """Every file is found, though the paths to it are beyond number."""
    folders = [tmp_path / f"tag{i}" for i in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "a.wav").touch()
    for folder in folders:
        for other in folders:
            (folder / f"see_{other.name}").symlink_to(other)
    found, others = find_inputs([tmp_path])
    sources = {source for source, _ in found}
    assert sources >= {folder / "a.wav" for folder in folders}
    assert len(sources) < 300 and len(others) < 3000


def test_a_link_up_is_not_followed(tmp_path):
    """As to the root of the disk: it leads to everything."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").touch()
    (tmp_path / "beside.wav").touch()
    (folder / "up").symlink_to(tmp_path)
    found, others = find_inputs([folder])
    assert [source.name for source, _ in found] == ["a.wav"]
    assert others[folder / "up"] == "link to a folder that it is in"


def test_a_list_names_one_file_twice_for_two_outputs(tmp_path):
    (tmp_path / "a.wav").touch()
    scp = tmp_path / "wav.scp"
    scp.write_text("1 a.wav\n2 a.wav\n1 a.wav\n")
    path = tmp_path / "a.wav"
    # The folder has no more files than the list.
    found, _ = find_inputs([scp, tmp_path], "out")
    assert found == [(path, Path("1.wav")), (path, Path("2.wav"))]
    # Beside the file there is one place.
    assert find_inputs([scp])[0] == [(path, Path("1.wav"))]
