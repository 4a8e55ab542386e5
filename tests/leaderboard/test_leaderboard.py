"""The published results, runs of ours, and `phasen leaderboard`."""

import base64
import csv
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
import soundfile as sf
from helpers import leaderboard_runs

from phasen_sb.cli import main
from phasen_sb.data import sample_corpus
from phasen_sb.errors import UserError
from phasen_sb.leaderboard import read_published, read_runs
from phasen_sb.leaderboard.entries import SCORES, read_own
from phasen_sb.leaderboard.listening import embed_files
from phasen_sb.leaderboard.recordings import FolderAudio
from phasen_sb.leaderboard.tables import rank_entries, to_markdown

SCORED = (
    '{{"systems": {{"a": {{"mean": {{"stoi": {}}}, "ci95": {{}}, '
    '"n": {{"stoi": 1}}, "folder": "x"}}}}}}'
)
CLEAN = sample_corpus() / "clean_testset_wav_16k"
NOISY = sample_corpus() / "noisy_testset_wav_16k"


@pytest.fixture(scope="module")
def training_run(tmp_path_factory):
    return leaderboard_runs.training_run(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def voicebank_run(tmp_path_factory):
    return leaderboard_runs.voicebank_run(tmp_path_factory.getbasetemp())


# ---------------------------------------------------------------- published


def test_published_results_are_tidy():
    entries = read_published()
    assert len(entries) > 200
    names = [(entry.system, entry.protocol) for entry in entries]
    assert len(set(names)) == len(names)
    limits = {"pesq_wb": (1, 4.65), "stoi": (0.5, 1), "ssnr": (-10, 35)}
    limits |= dict.fromkeys(("csig", "cbak", "covl"), (1, 5))
    for entry in entries:
        assert entry.source and entry.scores, entry
        assert entry.causal in ("yes", "no", "unknown"), entry
        assert entry.selected_on_test in ("yes", "no", "unknown"), entry
        assert entry.retracted in ("yes", "no"), entry
        assert entry.evidence in ("as published", "reproduced by others"), entry
        # What was known from memory only stayed out.
        assert entry.checked in ("source read", "second hand"), entry
        for metric, value in entry.scores.items():
            low, high = limits.get(metric, (0, 21))
            assert low <= value <= high, (entry, metric)
        # Another system's table is not its authors' own text.
        if entry.protocol.startswith("in the table of"):
            assert entry.checked == "second hand", entry
        for size in (entry.parameters_M, entry.macs_G_per_s):
            assert size is None or 0.01 < size < 300, entry


def test_known_published_rows_and_flags():
    entries = {(e.system, e.protocol): e for e in read_published()}
    noisy = entries["Noisy input", "literature's convention"]
    assert noisy.scores["pesq_wb"] == 1.97
    phasen = entries["PHASEN", "as its authors report"]
    expected = {"csig": 4.21, "cbak": 3.55, "covl": 3.62, "ssnr": 10.08}
    assert phasen.scores == {"pesq_wb": 2.99, **expected}
    claim = entries["DCUNet", "original claim"]
    assert [e for e in entries.values() if e.retracted == "yes"] == [claim]
    assert all(
        e.optimises_metric for e in entries.values() if "PCS" in e.system
    )
    mpsenet = entries["MP-SENet", "Interspeech 2023"]
    assert "selected on the test set" in mpsenet.flags
    # As printed: 3.50, not 3.5.
    assert mpsenet.format_score("pesq_wb") == "3.50"
    assert (
        entries["MelKoop", "as its authors report"].format_score("csig")
        == "4.17"
    )


def test_means_of_trainings_and_second_hand_rows_say_so():
    entries = {(e.system, e.protocol): e for e in read_published()}
    fast = entries["FastEnhancer-B", "as its authors report"]
    assert (fast.trainings, fast.causal) == ("5", "yes")
    assert fast.flags == ["metric-optimised: PESQ loss", "mean of 5 trainings"]
    phasen = entries["PHASEN", "as its authors report"]
    assert "second hand" in phasen.flags
    # One row for the one result that two tables call by two names.
    assert not [system for system, _ in entries if system == "Dual-S4D"]
    assert entries["S4DSE", "as its authors report"].parameters_M == 10.8


def test_markdown_ranks_metric_optimised_and_retracted_apart():
    text = to_markdown(read_published())
    titles = re.findall("^## (.*)$", text, re.MULTILINE)
    assert titles == [
        "Published, not known to be optimised for a metric",
        "Published, optimised for a metric",
        "Retracted",
    ]
    plain, optimised = text.split("## Published, optimised")
    assert "| SEMamba + PCS " in optimised and "+ PCS " not in plain
    figures = [
        float(p) for p in re.findall(r"^\| [^|]* \| +([\d.]+)", plain, re.M)
    ]
    assert figures == sorted(figures, reverse=True)


# --------------------------------------------------------------------- runs


def test_training_run_is_measured_and_kept_apart(training_run):
    [run] = read_runs([f"ours={training_run}"])
    results = json.loads((training_run / "results.json").read_text())
    for metric, value in run.entry.scores.items():
        assert value == results["test"]["enhanced"][metric]
        low, high = run.entry.intervals[metric]
        # Of what scores.csv rounds to four digits.
        assert low - 1e-4 <= value <= high + 1e-4
    assert run.entry.parameters_M * 1e6 == results["parameters"]
    assert 0 < run.entry.macs_G_per_s < 1
    assert results["losses"] == ["compressed_complex_loss"]
    assert run.entry.metric_optimised == "no"
    assert (run.entry.causal, run.entry.selected_on_test) == ("no", "no")
    # Two files of another corpus are no result on VoiceBank-DEMAND.
    assert not run.entry.comparable
    assert "other test data" in run.entry.flags
    noisy = results["test"]["noisy"]["pesq_wb"]
    assert run.noisy.scores["pesq_wb"] == noisy


def test_run_on_the_literatures_data_is_comparable(voicebank_run):
    [run] = read_runs([str(voicebank_run)])
    assert run.entry.comparable and run.noisy.comparable
    assert run.entry.parameters_M == pytest.approx(34.85, abs=0.005)
    low, high = run.entry.intervals["pesq_wb"]
    mean, error = run.entry.scores["pesq_wb"], 0.6 / 824**0.5
    assert low == pytest.approx(mean - 1.96 * error, abs=0.01)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.01)
    best = rank_entries([run.noisy, run.entry])
    assert best == [run.entry, run.noisy]


@pytest.mark.parametrize(
    ("losses", "start", "aim"),
    [
        (["compressed_complex_loss", "si_snr_loss"], None, "no"),
        (["compressed_complex_loss"], "other_run", "unknown"),
        (["compressed_complex_loss", "pesq_loss"], None, "PESQ loss"),
        (["stoi_loss"], "other_run", "STOI loss"),
        (["MyLoss"], None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_runs_say_which_metric_they_were_trained_on(
    voicebank_run, tmp_path, losses, start, aim
):
    folder = tmp_path / "run"
    shutil.copytree(voicebank_run, folder)
    path = folder / "results.json"
    results = json.loads(path.read_text())
    path.write_text(
        json.dumps({**results, "losses": losses, "init_from": start})
    )
    [run] = read_runs([str(folder)])
    assert run.entry.metric_optimised == aim
    flagged = f"metric-optimised: {aim}" in run.entry.flags
    assert flagged == (aim not in ("no", "unknown"))
    assert run.noisy.metric_optimised == "no"


def test_scored_folder_finds_its_model_and_audio(training_run, tmp_path):
    out = tmp_path / "scores"
    enhanced = training_run / "enhanced"
    arguments = ["--metrics", "si_sdr", "stoi", "--jobs", "1"]
    folders = ["--clean", CLEAN, "--noisy", NOISY, "--enhanced", enhanced]
    folders = list(map(str, [*folders, "--out", out]))
    assert main(["score", *folders, *arguments]) == 0
    [run] = read_runs([str(out)])
    [trained] = read_runs([str(training_run)])
    for metric in ("si_sdr", "stoi"):
        assert run.entry.scores[metric] == pytest.approx(
            trained.entry.scores[metric], abs=1e-4
        )
    assert run.entry.parameters_M == trained.entry.parameters_M
    assert run.entry.metric_optimised == trained.entry.metric_optimised == "no"
    assert run.noisy.metric_optimised == "no"
    # Both runs' files are the same recordings: one place to hear them.
    [name, *_] = sorted(run.per_file)
    [utterance], notes = embed_files([run, trained], [name], 5.0)
    titles = [clip.title for clip in utterance.clips]
    assert titles == ["noisy", "scores", "debug", "clean"] and not notes


def test_scored_folder_says_what_its_model_was_trained_on(
    voicebank_run, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(voicebank_run, folder)
    path = folder / "results.json"
    results = json.loads(path.read_text())
    changes = {"losses": ["pesq_loss"], "extra_clean_folder": "more"}
    path.write_text(json.dumps({**results, **changes}))
    scores = {"mean": {"stoi": 0.9}, "ci95": {}, "n": {"stoi": 6}}
    for place, aim, extra in (
        (folder / "enhanced", "PESQ loss", "yes"),
        (tmp_path / "other" / "folder", "unknown", "no"),
    ):
        system = {**scores, "folder": str(place)}
        record = {"systems": {"ours": system, "noisy": {**system}}}
        (tmp_path / "scores.json").write_text(json.dumps(record))
        [run] = read_runs([str(tmp_path)])
        assert run.entry.metric_optimised == aim
        assert run.entry.extra_data == extra
        assert run.noisy.metric_optimised == run.noisy.extra_data == "no"


def test_embedded_audio_is_the_file(training_run):
    runs = read_runs([str(training_run)])
    [utterance], _ = embed_files(runs, ["p232_001"], 5.0)
    for clip, folder in zip(
        utterance.clips, (NOISY, training_run / "enhanced", CLEAN), strict=True
    ):
        kind, content = clip.audio.split(";base64,")
        assert kind == "data:audio/flac"
        samples, rate = sf.read(io.BytesIO(base64.b64decode(content)))
        [path] = folder.glob("p232_001.*")
        expected, _ = sf.read(path)
        assert rate == 16000
        np.testing.assert_allclose(samples, expected, atol=1.1 / 32768)
        assert clip.spectrogram.startswith("data:image/png;base64,")


def test_budget_leaves_files_out_and_says_so(training_run):
    runs = read_runs([str(training_run)])
    both = ["p232_001", "p232_002"]
    everything, _ = embed_files(runs, both, 5.0)
    first = sum(clip.size for clip in everything[0].clips) / 1e6
    kept, notes = embed_files(runs, both, first + 0.001)
    assert [utterance.name for utterance in kept] == ["p232_001"]
    assert len(notes) == 1
    assert re.search(r"p232_002 is not on the page.*--audio-budget", notes[0])


# ------------------------------------------------------------- command line


def test_command_writes_three_files(training_run, tmp_path):
    out = tmp_path / "board"
    runs = ["--runs", f"a|b <i>={training_run}"]
    options = ["--listen", "p232_002", "--out", str(out)]
    assert main(["leaderboard", *runs, *options]) == 0
    page = (out / "leaderboard.html").read_text(encoding="utf-8")
    assert "a|b &lt;i&gt;" in page and "<i>=" not in page
    assert "https://cdn" not in page and 'src="http' not in page
    assert page.count("<audio") == 3
    audio = re.findall(r"data:[a-z/]+;base64,[\w+/=]+", page)
    assert len(page) - sum(map(len, audio)) < 2_000_000
    rows = list(
        csv.DictReader(io.StringIO((out / "leaderboard.csv").read_text()))
    )
    assert len(rows) == len(read_published()) + len(read_own()) + 2
    [ours] = [row for row in rows if row["system"] == "a|b <i>"]
    assert float(ours["pesq_wb_low"]) <= float(ours["pesq_wb"])
    assert set(SCORES) <= set(ours)
    assert "| a\\|b <i> (" in (out / "leaderboard.md").read_text()


def test_command_without_runs(tmp_path, capsys):
    assert main(["leaderboard", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "leaderboard.md").read_text()
    assert "2.72 [2.67, 2.76]" in text and "2026-11-27, commit 98f6872" in text
    assert "0 files to listen to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.rmdir(), r"folder of --runs .*/run does not exist; "),
        (
            lambda f: None,
            r"/run holds neither results.json nor scores.json; giv",
        ),
        (
            lambda f: [
                (f / "x").mkdir(),
                (f / "x/results.json").write_text(""),
            ],
            r"/run holds neither .*; give .*/run/x\.",
        ),
        (
            lambda f: (f / "results.json").write_text('{"test": '),
            r"/run/results.json cannot be read \(",
        ),
        (
            lambda f: (f / "results.json").write_text("[" * 10**5),
            r"/run/results.json cannot be read \(",
        ),
        (
            lambda f: (f / "results.json").write_text(" " * 2**24 + "{}"),
            r"/run/results.json is larger than 16 MB",
        ),
        (
            lambda f: (f / "scores.json").symlink_to("/etc/hostname"),
            r"/run/scores.json is a link to /etc/hostname, which is not in ",
        ),
        (
            lambda f: (f / "scores.json").write_text(SCORED.format("NaN")),
            r"/run/scores.json is not what .* \(ValueError: stoi is nan\)",
        ),
        (
            lambda f: (f / "scores.json").write_text('{"means": {}}'),
            r"/run/scores.json is not what phasen_sb writes \(KeyError: 'sys",
        ),
    ],
)
def test_unusable_runs(tmp_path, capsys, spoil, message):
    folder, out = tmp_path / "run", tmp_path / "out"
    folder.mkdir()
    spoil(folder)
    assert main(["leaderboard", "--runs", str(folder), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1
    assert not out.exists()


def test_names_of_files_do_not_lead_out_of_the_run(training_run, tmp_path):
    secret = tmp_path / "secret.wav"
    sf.write(secret, np.zeros(16000), 16000)
    [run] = read_runs([str(training_run)])
    name = os.path.relpath(secret.with_suffix(""), training_run / "enhanced")
    with pytest.raises(UserError, match="secret.wav is not in"):
        run.audio.load(name)
    folders = FolderAudio(CLEAN, tmp_path, CLEAN)
    with pytest.raises(UserError, match="has no file of that name"):
        folders.load("../" + CLEAN.name + "/p232_001.flac")


def test_unknown_file_to_listen_to(training_run, tmp_path, capsys):
    arguments = ["--runs", str(training_run), "--listen", "p999_001"]
    assert main(["leaderboard", *arguments, "--out", str(tmp_path)]) == 1
    message = r"No run scored a file called p999_001; .* such as p232_00"
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
