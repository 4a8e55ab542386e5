"""`phasen score` on real speech, from folders to report."""

import csv
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from helpers.processes import heed_ctrl_c
from helpers.sample_scores import (
    CLEAN,
    FILES,
    NOISY,
    QUICK,
    enhanced_folder,
    read,
)

from phasen_sb.cli import main
from phasen_sb.metrics import composite, pesq, si_sdr
from phasen_sb.metrics.registry import EXTRAS

# Noise and SNR of all files but the first.
CONDITIONS = (
    ["living", "bus", "bus", "living", "bus"],
    [12.5, 2.5, 7.5, 2.5, 12.5],
)


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "phasen_sb.cli", "score", *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        **options,
    )


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """One run with everything in it: three systems, each with an oddity."""
    root = tmp_path_factory.mktemp("scored")
    weak = enhanced_folder(root / "weak", 0.5)
    strong = enhanced_folder(root / "strong", 0.8)
    again = enhanced_folder(root / "again" / "strong", 0.8, rate=48000)
    # weak: a silent and a NaN file; strong: one missing, one extra, one short.
    silent, broken, short = FILES[0], FILES[1], FILES[2]
    sf.write(weak / f"{silent}.wav", np.zeros(read(CLEAN, silent).size), 16000)
    samples = read(NOISY, broken)
    samples[1000] = np.nan
    sf.write(weak / f"{broken}.wav", samples, 16000, subtype="FLOAT")
    (strong / f"{FILES[5]}.wav").rename(strong / "extra.wav")
    samples, _ = sf.read(strong / f"{short}.wav")
    sf.write(strong / f"{short}.wav", samples[:-160], 16000, subtype="FLOAT")
    log = root / "log.txt"
    lines = [
        f"{name} {n} {s}"
        for name, n, s in zip(FILES[1:], *CONDITIONS, strict=True)
    ]
    log.write_text("\n".join(lines))
    out = root / "out"
    result = run(
        *("--clean", CLEAN, "--noisy", NOISY, "--out", out, "--jobs", 2),
        *("--enhanced", weak, strong, "--enhanced", f"at 48 kHz={again}"),
        *("--conditions", log),
    )
    assert result.returncode == 0, result.stderr
    record = json.loads((out / "scores.json").read_text())
    return out, record, result


def test_scores_are_those_of_the_functions(scored):
    _, record, _ = scored
    assert list(record["systems"]) == ["noisy", "weak", "strong", "at 48 kHz"]
    noisy = record["systems"]["noisy"]
    pairs = [(read(CLEAN, name), read(NOISY, name)) for name in FILES]
    for metric, values in {
        "pesq_wb": [pesq(*pair) for pair in pairs],
        "pesq_nb": [pesq(*pair, mode="nb") for pair in pairs],
        "si_sdr": [si_sdr(*pair) for pair in pairs],
        "covl": [composite(*pair).covl for pair in pairs],
        "cbak_rescaled": [
            composite(*pair, family="rescaled").cbak for pair in pairs
        ],
    }.items():
        assert noisy["mean"][metric] == pytest.approx(np.mean(values))
        assert noisy["median"][metric] == pytest.approx(np.median(values))
        low, high = noisy["ci95"][metric]
        assert min(values) <= low < noisy["mean"][metric] < high <= max(values)
        assert noisy["n"][metric] == 6


def test_scores_by_noise_and_snr(scored):
    _, record, result = scored
    noises, snrs = (record["conditions"][key] for key in ("noise", "SNR"))
    assert list(noises) == ["bus", "living"]
    assert list(snrs) == ["2.5 dB", "7.5 dB", "12.5 dB"]
    of_bus = [
        pesq(read(CLEAN, name), read(NOISY, name))
        for name, noise in zip(FILES[1:], CONDITIONS[0], strict=True)
        if noise == "bus"
    ]
    noisy = noises["bus"]["noisy"]
    assert noisy["mean"]["pesq_wb"] == pytest.approx(np.mean(of_bus))
    assert noisy["n"]["pesq_wb"] == 3
    assert re.search(
        rf"\| bus +\| 3 +\| {np.mean(of_bus):.2f} \[", result.stdout
    )


def test_failures_are_excluded_and_shown(scored):
    _, record, result = scored
    weak = record["systems"]["weak"]
    assert set(weak["n"].values()) == {4}
    assert {
        (failure["key"], failure["reason"]) for failure in weak["failures"]
    } == {(FILES[0], "silent"), (FILES[1], "NaN or infinite samples")}
    expected = [
        pesq(read(CLEAN, name), (read(CLEAN, name) + read(NOISY, name)) / 2)
        for name in FILES[2:]
    ]
    assert weak["mean"]["pesq_wb"] == pytest.approx(np.mean(expected), abs=0.01)
    assert f"* PESQ-wb: 1 x silent ({FILES[0]})" in result.stdout


def test_missing_resampled_and_cut_files_are_named(scored):
    _, record, result = scored
    strong = record["systems"]["strong"]
    assert strong["missing"] == [FILES[5]]
    assert strong["without_clean"] == ["extra"]
    notes = " ".join(record["notes"])
    folder = strong["folder"]
    assert f"Missing in {folder}, 1 of 6 files: {FILES[5]}." in notes
    assert f"of that name in {folder}, 1 of 6 files: extra." in notes
    assert "in strong: 1 of 5 files, by up to 160 samples." in notes
    assert "Resampled from 48000 Hz to 16000 Hz" in notes
    assert "at 48 kHz and the clean files have different sample rates" in notes
    assert record["notes"][0] in result.stdout
    assert record["resampler"]["function"].endswith("resample")
    assert record["versions"]["pesq"]


def test_another_rate_gives_the_same_scores(scored):
    out, record, _ = scored
    rows = list(csv.DictReader((out / "scores.csv").open()))
    by_name = {(row["system"], row["file"]): row for row in rows}
    for name in [*FILES[:2], *FILES[3:5]]:
        # What the file at 48 kHz lacks is above 7 kHz.
        for metric, tolerance in {"pesq_wb": 0.1, "estoi": 1e-3}.items():
            assert float(by_name["strong", name][metric]) == pytest.approx(
                float(by_name["at 48 kHz", name][metric]), abs=tolerance
            )
    assert by_name["weak", FILES[0]]["pesq_wb"] == ""
    assert "pesq_wb: silent" in by_name["weak", FILES[0]]["failures"]
    clean, noisy = read(CLEAN, FILES[3]), read(NOISY, FILES[3])
    snr = 10 * np.log10(np.sum(clean**2) / np.sum((clean - noisy) ** 2))
    assert float(by_name["strong", FILES[3]]["input_snr"]) == pytest.approx(snr)


def test_systems_are_compared_on_the_files_both_have(scored):
    out, record, result = scored
    comparison = next(
        c
        for c in record["comparisons"]
        if (c["from"], c["to"]) == ("weak", "strong")
    )
    difference = comparison["metrics"]["si_sdr"]
    # Removing 0.8 instead of 0.5 of the noise leaves 2.5 times less.
    assert difference["mean_difference"] == pytest.approx(
        20 * np.log10(2.5), abs=0.3
    )
    counts = [difference[key] for key in ("n", "wins", "losses")]
    assert counts == [3, 3, 0]
    assert "strong against weak" in result.stdout
    worst = result.stdout.split("Worst files of weak by STOI: ")[1]
    assert worst.count(",", 0, worst.index("\n")) == 3
    assert (out / "report.md").read_text() == result.stdout
    picture = (out / "scores.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20000
    written = {path.name for path in out.iterdir()}
    assert written == {"report.md", "scores.csv", "scores.json", "scores.png"}


def test_independent_measures_come_first_and_the_verdict_above_all(scored):
    _, record, result = scored
    labels = re.findall(r"^\| ([A-Z][^|]*?) +\|", result.stdout, re.MULTILINE)
    order = ["STOI", "SI-SDR", "PESQ-wb", "CSIG (contains PESQ)"]
    assert sorted(order, key=labels.index) == order
    assert all("(contains PESQ)" in label for label in labels if "OVL" in label)
    # Removing more of the noise: better on all three shared files.
    [comparison] = [
        c
        for c in record["comparisons"]
        if (c["from"], c["to"]) == ("weak", "strong")
    ]
    verdict = comparison["verdict"]
    assert verdict.startswith("Verdict: strong against weak is better in STOI")
    assert "CSIG" not in verdict
    assert verdict.endswith(" 3 files: too few to be sure).")
    assert verdict in result.stdout.split("Mean [95 %")[0]
    # Extras that are not installed are named.
    notes = " ".join(record["notes"])
    for package, extra in EXTRAS.items():
        absent = importlib.util.find_spec(package) is None
        assert absent == (f'pip install "{extra}"' in notes)


def test_bad_input_is_named_in_one_sentence(tmp_path, capsys):
    def message(*arguments, clean=CLEAN) -> str:
        out = tmp_path / "out"
        words = ["--clean", clean, "--out", out, *QUICK, *arguments]
        assert main(["score", *map(str, words)]) == 1
        assert list(out.glob("*")) == []
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.count("\n") == 1 or "%|" in shown.err
        return shown.err.splitlines()[-1]

    good = enhanced_folder(tmp_path / "good", 0.5)
    typo = message("--enhanced", tmp_path / "goood")
    assert f"did you mean {good}?" in typo
    typo = message("--enhanced", good, "--metrics", "pesq", "stoi")
    assert 'no metric "pesq"; did you mean "pesq_wb"? The metrics are' in typo
    assert "names no measure" in message("--enhanced", good, "--metrics", ",")
    assert "two folders" in message("--enhanced", CLEAN)
    assert "two systems" in message("--enhanced", good, good)

    other = tmp_path / "other"
    other.mkdir()
    assert "no audio files" in message("--enhanced", other)
    sf.write(other / "a.wav", np.ones(16000), 16000)
    assert "name enhanced files as the clean ones" in message(
        "--enhanced", other
    )
    bad = good / f"{FILES[0]}.wav"
    content = bad.read_bytes()
    for text, write in {
        "has 2 channels": lambda: sf.write(bad, np.ones((16000, 2)), 16000),
        "has no samples": lambda: sf.write(bad, np.ones(0), 16000),
        "cannot be decoded": lambda: bad.write_bytes(b"no audio"),
        "is at 15999 Hz, which has too little": lambda: sf.write(
            bad, np.ones(9), 15999
        ),
    }.items():
        write()
        assert f"{bad} {text}" in message("--enhanced", good)
    bad.write_bytes(content)
    assert "here), followed by _x; name enhanced" in message(
        "--enhanced", good, "--suffix", "_x"
    )
    assert "one is a file" in message("--enhanced", bad)
    log = tmp_path / "log.txt"
    assert f"{log} cannot be read" in message(
        "--enhanced", good, "--conditions", log
    )
    log.write_text("a bus 2.5\nb bus")
    assert f"Line 2 of {log} is 'b bus'" in message(
        "--enhanced", good, "--conditions", log
    )
    log.write_text("a bus 2.5")
    assert "none of the files" in message(
        "--enhanced", good, "--conditions", log
    )
    blocked = tmp_path / "file"
    blocked.touch()
    assert f"--out {blocked}" in message("--enhanced", good, "--out", blocked)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_ends_quietly_and_leaves_nothing(tmp_path):
    long = tmp_path / "clean", tmp_path / "enhanced"
    speech = np.tile(read(CLEAN, "p232_003"), 120)
    for folder in long:
        folder.mkdir()
        for name in "abc":
            sf.write(folder / f"{name}.wav", speech, 16000)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "phasen_sb.cli", "score", "--jobs", "2"]
        + ["--clean", long[0], "--enhanced", long[1], "--out", out],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    # Until it scores: the folder is there and a thread started a process
    # (importing its libraries may start others earlier).
    tasks = Path(f"/proc/{process.pid}/task")
    while not out.is_dir() or not any(
        path.read_text() for path in tasks.glob("*/children")
    ):
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    shown, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert shown == "" and errors.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in errors
    assert list(out.iterdir()) == []


def test_a_second_run_replaces_the_first(tmp_path, capsys):
    good = enhanced_folder(tmp_path / "good", 0.5)
    words = ["score", "--clean", CLEAN, "--enhanced", good, *QUICK]
    words += ["--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    first = (tmp_path / "out" / "scores.json").read_text()
    assert main([str(word) for word in words]) == 0
    assert (tmp_path / "out" / "scores.json").read_text() == first
    shutil.copy(CLEAN / f"{FILES[0]}.flac", good)
    assert main([str(word) for word in words]) == 1
    assert "rename or remove one of them" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from phasen_sb.cli import main\n"
        "try: main(['score', '--help'])\n"
        "except SystemExit: print(*sys.modules.keys() & {'torch', 'scipy'})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == ""
    assert "pesq_wb pesq_nb stoi estoi si_sdr ssnr csig cbak covl" in (
        " ".join(result.stdout.split())
    )
