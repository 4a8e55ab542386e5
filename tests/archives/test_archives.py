"""Lists of files, shares of a job array, measures and reports."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.small_model import SPEECH, enhancer_of, names, write_noise

from phasen_sb.archives.file_measures import measure_file
from phasen_sb.archives.file_table import COLUMNS, FileTable, tabulate_job
from phasen_sb.archives.inputs import find_inputs
from phasen_sb.archives.job_array import parse_shard, select_shard
from phasen_sb.archives.jobs import enhance_files
from phasen_sb.archives.manifests import read_manifest
from phasen_sb.archives.outcomes import Outcome
from phasen_sb.cli import main
from phasen_sb.errors import UserError
from phasen_sb.inference.output_paths import name_outputs

LISTS = {
    "list.txt": "a.wav\n\nsub/b.flac\n",
    "list.csv": "ID,file\n1,a.wav\n2,sub/b.flac\n",
    "list.jsonl": '{"audio_filepath": "a.wav"}\n{"path": "sub/b.flac"}\n',
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_files_become_the_same_tree(tmp_path, name):
    (tmp_path / name).write_text("\ufeff" + LISTS[name], encoding="utf-8")
    found, _ = find_inputs([tmp_path / name])
    assert found == [
        (tmp_path / inner, Path(inner)) for inner in ("a.wav", "sub/b.flac")
    ]


def test_places_of_files_that_a_list_names_elsewhere(tmp_path, monkeypatch):
    listed = tmp_path / "list.txt"
    listed.write_text("/data/1/a.wav\n/data/2/a.wav\nb.wav\n../c.wav\n")
    places = [str(place) for _, place in read_manifest(listed)]
    base = str(tmp_path.parent).lstrip("/")
    assert places == ["data/1/a.wav", "data/2/a.wav", "b.wav", f"{base}/c.wav"]
    listed.write_text("/data/1/a.wav\n/data/2/a.wav\n")
    places = [str(place) for _, place in read_manifest(listed)]
    assert places == ["1/a.wav", "2/a.wav"]
    # Kaldi's paths start where its recipe runs.
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "here.wav", 10)
    (tmp_path / "conf").mkdir()
    scp = tmp_path / "conf" / "wav.scp"
    for line in ("spk/utt-1 here.wav", "spk/utt-1\there.wav"):
        scp.write_text(f"{line}\n")
        [found] = read_manifest(scp)
        assert found == (Path("here.wav"), Path("spk/utt-1.wav"))


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("w.scp", "a sox a.wav |\n", "Line 1 of .* without commands"),
        ("w.scp", "../a /x.wav\n", "Line 1 of .* must be an ID"),
        ("w.csv", "ID,sound\n1,a.wav\n", "has no column of files"),
        ("w.csv", "ID,file\n1,\n", "Line 2 of .* has no file"),
        ("w.jsonl", '{"path": "a"}\n{"x": 1}\n', "Line 2 of .* names no file"),
        ("w.jsonl", "[" * 9999, "Line 1 of .* names no file"),
        ("w.txt", "\n", "lists no files"),
    ],
)
def test_damaged_lists_get_a_sentence(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_manifest(tmp_path / name)


def test_shares_are_disjoint_whole_and_stay_when_files_are_added():
    def share(files, index):
        pairs = [(Path("in", name), Path("out", name)) for name in files]
        places = [Path(name) for name in files]
        chosen = select_shard(pairs, places, f"{index}/5")
        return {str(source) for source, _ in chosen}

    files = [f"day/{number}.wav" for number in range(300)]
    shares = [share(files, index) for index in range(1, 6)]
    assert set().union(*shares) == {f"in/{name}" for name in files}
    assert sum(map(len, shares)) == 300 and min(map(len, shares)) > 40
    more = share([*files[::-1], "day/new.wav"], 2)
    assert more - {"in/day/new.wav"} == shares[1]
    for text in ("0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/2"):
        with pytest.raises(UserError, match="must be i/n with i from 1 to n"):
            parse_shard(text)


def test_command_with_shares_and_a_report(tmp_path, capsys):
    noisy, out = tmp_path / "noisy", tmp_path / "out"
    noisy.mkdir()
    for number in range(5):
        write_noise(noisy / f"{number}.wav", 400)
    (noisy / "bad.wav").write_text("no sound")
    (noisy / "wav.scp").write_text(
        "".join(f"u{n} {n}.wav\n" for n in [*range(5), "bad"]) + "again 0.wav\n"
    )
    command = ["enhance", str(noisy / "wav.scp"), "-o", str(out)]
    command += ["--strength", "0", "--shard"]
    counts = []
    for share in ("1/2", "2/2"):
        report = tmp_path / f"report{share[0]}.csv"
        main([*command, share, "--report", str(report)])
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"Share {share}: ")
        with open(report, newline="") as file:
            rows = list(csv.DictReader(file))
        counts.append(len(rows))
        assert all(list(row) == list(COLUMNS) for row in rows)
        for row in rows:
            state = "failed" if "bad" in row["file"] else "enhanced"
            assert row["status"] == state
            assert bool(row["reason"]) == (state == "failed")
    assert sorted(counts) == [2, 5]
    whole = ["again.wav", *(f"u{number}.wav" for number in range(5))]
    assert names(out) == whole
    for words, sentence in (
        (["-", "--shard", "1/2"], "are for files, not for -"),
        ([str(noisy), "--report", "r.txt"], "must end in .parquet or .csv"),
        ([str(noisy), "--shard", "0/2"], "--array=1-16"),
    ):
        assert main(["enhance", *words]) == 1
        assert sentence in capsys.readouterr().err


def test_levels_of_a_known_recording(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    wave = 0.001 * rng.standard_normal((64000, 2))
    wave[16000:32000] += 0.1 * rng.standard_normal((16000, 2))
    wave[:4000] = 0  # digital silence is no noise
    wave[40000:40005, 0] = 1.0
    wave[40010, 1] = np.nan
    sf.write(tmp_path / "a.wav", wave, 16000, "FLOAT")
    found = measure_file(tmp_path / "a.wav")
    assert found["seconds"] == 4 and found["channels"] == 2
    assert found["clipped_samples"] == 5 and found["peak_dbfs"] == 0
    assert found["level_dbfs"] == pytest.approx(-26, abs=0.2)
    assert found["noise_dbfs"] == pytest.approx(-60.5, abs=0.5)
    # 50 frames of the burst, one or two of the clicks.
    assert found["speech_share"] == pytest.approx(51 / 200, abs=0.006)
    monkeypatch.setattr("phasen_sb.audio.reading.BLOCK_SAMPLES", 1010)
    assert measure_file(tmp_path / "a.wav") == pytest.approx(found)
    sf.write(tmp_path / "b.wav", np.zeros(800), 16000)
    silent = measure_file(tmp_path / "b.wav")
    assert silent["level_dbfs"] is silent["noise_dbfs"] is None
    assert silent["speech_share"] == 0


def test_noise_of_real_recordings_is_estimated():
    errors = []
    for path in SPEECH:
        clean = str(path).replace("noisy_", "clean_")
        noise = np.subtract(*(sf.read(p)[0] for p in (path, clean)))
        true = 10 * np.log10(np.square(noise).mean())
        errors.append(measure_file(path)["noise_dbfs"] - true)
    assert np.abs(np.median(errors)) < 2 and np.abs(errors).max() < 5


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_reports_are_there_in_full_or_not_at_all(tmp_path, kind, monkeypatch):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    monkeypatch.setattr("phasen_sb.archives.file_table.ROWS", 2)
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    for name in ("a", "b", "c", "\udce9"):
        write_noise(noisy / "x.wav", 3000).rename(noisy / f"{name}.wav")
    pairs = name_outputs(find_inputs([noisy])[0], tmp_path / "out")
    pairs.append((pairs[0][0], tmp_path / "out" / "again.wav"))
    identity = enhancer_of(lambda wave: wave)
    enhance_files(identity, pairs[:1], progress=False)
    report = enhance_files(identity, pairs, progress=False)
    path = tmp_path / "deep" / f"report.{kind}"
    with FileTable(path) as table:
        tabulate_job(table, pairs, report)
        assert not path.exists()
    if kind == "csv":
        text = path.read_text(errors="surrogateescape").splitlines()
        rows = list(csv.DictReader(text))
    else:
        from pyarrow import parquet

        rows = parquet.read_table(path).to_pylist()
    assert [row["status"] for row in rows] == ["kept"] + 4 * ["enhanced"]
    assert {float(row["seconds"]) for row in rows} == {3000 / 16000}
    assert float(rows[0]["elapsed"]) == 0 < float(rows[1]["elapsed"])
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), FileTable(path) as table:
        table.add(Outcome(*pairs[0], "kept"))
        raise KeyboardInterrupt
    assert path.read_bytes() == before and names(path.parent) == [path.name]
