"""Which files `phasen score` compares: names that differ, single files."""

import json
import shutil

import pytest
from helpers.sample_scores import (
    CLEAN,
    FILES,
    NOISY,
    QUICK,
    enhanced_folder,
    read,
)

from phasen_sb.cli import main
from phasen_sb.metrics import si_sdr


def mean_si_sdr(out, capsys, *words):
    words = ("score", *QUICK, "--out", out, *words)
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    systems = json.loads((out / "scores.json").read_text())["systems"]
    return {name: s["mean"]["si_sdr"] for name, s in systems.items()}


def test_what_enhance_wrote_beside_its_inputs_is_scored(tmp_path, capsys):
    folder = tmp_path / "both"
    enhanced_folder(folder, 0.9)
    for path in list(folder.iterdir()):
        path.rename(folder / f"{path.stem}.enhanced.wav")
        shutil.copy(NOISY / path.with_suffix(".flac").name, folder)
    words = ("--clean", CLEAN, "--enhanced", folder, "--noisy", folder)
    means = mean_si_sdr(tmp_path / "out", capsys, *words)
    assert means["both"] - means["noisy"] == pytest.approx(20, abs=1)
    notes = json.loads((tmp_path / "out/scores.json").read_text())["notes"]
    assert f"Scored in {folder}: files called NAME.enhanced." in notes


def test_names_that_differ_and_single_files(tmp_path, capsys):
    enhanced = enhanced_folder(tmp_path / "e", 0.9)
    for path in list(enhanced.iterdir()):
        path.rename(enhanced / f"{path.stem}-ours.wav")
    words = ["--clean", CLEAN, "--enhanced", enhanced]
    assert main(["score", *QUICK, *map(str, words)]) == 1
    assert "such as --suffix -ours." in capsys.readouterr().err
    log = tmp_path / "log.txt"
    lines = [f"{name}.wav bus 2.5\n" for name in FILES]
    log.write_text("".join(lines), encoding="utf-8-sig")
    words += ["--suffix=-ours", "--conditions", log]
    mean = mean_si_sdr(tmp_path / "out", capsys, *words)["e"]
    record = json.loads((tmp_path / "out/scores.json").read_text())
    assert record["conditions"]["noise"]["bus"]["e"]["n"]["si_sdr"] == 6
    singles = [
        mean_si_sdr(
            tmp_path / "out",
            capsys,
            *("--clean", CLEAN / f"{name}.flac"),
            *("--enhanced", f"ours={enhanced}/{name}-ours.wav"),
        )["ours"]
        for name in FILES[:2]
    ]
    scores = (tmp_path / "out/scores.csv").read_text()
    assert f"ours,{FILES[1]},,{singles[1]}" in scores
    clean, noisy = read(CLEAN, FILES[0]), read(NOISY, FILES[0])
    expected = si_sdr(clean, noisy + 0.9 * (clean - noisy))
    assert singles[0] == pytest.approx(expected, abs=1e-3)
    assert mean > 15
