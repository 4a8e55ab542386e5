"""The recipe, as a user runs it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
import torch
from helpers.corpora import RATE, pairs_of, write_pair
from helpers.recipe_process import (
    RECIPE,
    TINY,
    command,
    finish,
    output_folder,
    refuse,
    results,
)
from matplotlib.image import imread

from phasen_sb.data import sample_corpus
from phasen_sb.leaderboard.runs import read_runs
from phasen_sb.models.loading import read_model

SMALL = {
    "batch_size": 3,
    "number_of_epochs": 1,
    "metrics": "[pesq_wb]",
    "pictured_utterances": 0,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, voicebank):
    """Where a training of one epoch has run."""
    folder = tmp_path_factory.mktemp("trained")
    finish(folder, **SMALL, data_folder=voicebank)
    return folder


def copy_of(trained, folder):
    """A copy of that run, with its output folder."""
    shutil.copytree(trained / "results", folder / "results")
    return output_folder(folder)


def snapshot(folder):
    """What every file holds, the log apart, which only grows."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "log.txt"
    }


def test_default_run_and_what_follows(tmp_path):
    tiny = {"num_workers": 1, "number_of_epochs": 2, "validate_every": 2}
    arguments = command(**tiny)
    answer = subprocess.run(
        [sys.executable, str(RECIPE), *arguments],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    folder = output_folder(tmp_path)
    assert folder == tmp_path / "results" / "phasen_sample" / "1234"
    log = (folder / "train_log.txt").read_text().splitlines()
    starts = [line.split(",")[0].split(" - ")[0] for line in log]
    assert starts[:2] == ["noisy input: valid", "noisy input: test"]
    assert starts[2:4] == ["epoch: 1", "epoch: 2"]
    assert re.search("test pesq_wb: .*, test noisy_pesq_wb: ", log[4])
    assert "noisy  enhanced" in answer.stdout + answer.stderr

    found = results(folder)
    for split, count in (("valid", 4), ("test", 6)):
        for version in ("noisy", "enhanced"):
            scores = found[split][version]
            assert 1 < scores["pesq_wb"] < 4.65 and 0 < scores["stoi"] < 1
            assert np.isfinite(scores["si_sdr"])
            assert (scores["utterances"], scores["failures"]) == (count, {})
    assert found["seed"] == 1234 and found["versions"]["speechbrain"]
    assert found["command"].endswith(arguments[-1]) and "commit" in found
    with open(folder / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for version in ("noisy", "enhanced"):
        column = [float(row[f"{version}_pesq_wb"]) for row in rows]
        mean = found["test"][version]["pesq_wb"]
        assert np.mean(column) == pytest.approx(mean, abs=1e-3)
    clean = {p.stem: p for p in sample_corpus().glob("clean_test*/*")}
    assert {row["id"] for row in rows} == set(clean)
    for name, path in clean.items():
        ours = soundfile.info(folder / "enhanced" / f"{name}.wav")
        assert ours.samplerate == RATE
        assert ours.frames == soundfile.info(path).frames
    assert "matplotlib.font_manager" not in (folder / "log.txt").read_text()
    picture = (folder / "spectrograms.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 50_000
    for name in ("curves", "frequency_transforms"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    colours = imread(folder / "frequency_transforms.png")[..., :3]
    # What did not change is white; bars beside the panels have colour anyway.
    assert (np.ptp(colours, axis=2) > 0.05).mean() > 0.2

    # The same command again only tests.
    again = finish(tmp_path, **tiny)
    assert results(again)["test"] == found["test"]
    log = (folder / "train_log.txt").read_text()
    assert log.count("epoch: 1") == log.count("epoch: 2") == 1

    # Others are refused, and change nothing.
    before = snapshot(folder)
    other = {
        "lr": (tiny | {"lr": 0.1}, "lr 0.001, not 0.1"),
        "network": (
            tiny | {"network": TINY.replace("8,", "9,")},
            "network.recurrent_units 8, not 9",
        ),
    }
    for options, message in other.values():
        sentence = refuse(tmp_path, **options)
        assert message in sentence and "--output_folder" in sentence
    assert snapshot(folder) == before


def test_goes_on_and_refuses_other_data(trained, tmp_path, voicebank):
    folder = copy_of(trained, tmp_path)
    more = SMALL | {"number_of_epochs": 2}
    # Where the data lies does not matter, what it is does.
    moved = tmp_path / "moved"
    moved.symlink_to(voicebank)
    finish(tmp_path, **more, data_folder=moved)
    log = (folder / "train_log.txt").read_text()
    assert log.count("epoch: 1,") == log.count("epoch: 2,") == 1
    before = snapshot(folder)
    other = tmp_path / "other"
    for path in voicebank.rglob("*.wav"):
        copy = other / path.relative_to(voicebank)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(path)
    for path in other.glob("*_trainset*/p001_0.wav"):
        path.unlink()
    noise = tmp_path / "noise"
    noise.mkdir()
    shutil.copy(next(voicebank.glob("noisy_trainset*/*")), noise)
    for data in (
        {"data_folder": other},
        {"data_folder": voicebank, "extra_noise_folder": noise},
    ):
        sentence = refuse(tmp_path, **more, **data)
        assert "holds a run with" in sentence
        assert snapshot(folder) == before
    sentence = refuse(
        tmp_path, "--grad_accumulation_factor=2", **more, data_folder=voicebank
    )
    assert "grad_accumulation_factor 1, not 2" in sentence
    # A damaged checkpoint is named.
    checkpoints = sorted((folder / "save").glob("CKPT+*"))
    damaged = checkpoints[-1] / "averaged.ckpt"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    sentence = refuse(tmp_path, **more, data_folder=voicebank)
    assert checkpoints[-1].name in sentence and "delete this" in sentence
    (checkpoints[-1] / "CKPT.yaml").write_text("a: [")
    sentence = refuse(tmp_path, **more, data_folder=voicebank)
    assert checkpoints[-1].name in sentence and "delete this" in sentence


def test_starts_from_earlier_weights(trained, tmp_path, voicebank):
    earlier = tmp_path / "earlier"
    shutil.copytree(output_folder(trained), earlier)
    options = SMALL | {"data_folder": voicebank, "init_from": earlier}
    missing = refuse(tmp_path, **options | {"init_from": f"{earlier}s"})
    assert f"There is no folder {earlier}s; did you mean" in missing
    other = refuse(
        tmp_path, **options | {"network": TINY.replace("units: 8", "units: 9")}
    )
    assert "the network needs" in other and "phasen.yaml" in other
    more = tmp_path / "more"
    more.mkdir()
    shutil.copy(next(voicebank.glob("clean_trainset*/*")), more / "a.wav")
    noise = tmp_path / "noise"
    shutil.copytree(more, noise)
    # The extra noise makes noisy speech of the extra speech, without remixing.
    options |= {"extra_clean_folder": more, "extra_noise_folder": noise}
    finish(tmp_path, **options, lr=0, average_decay=0)
    before, after = (
        read_model(f).state for f in (earlier, output_folder(tmp_path))
    )
    for name in before:
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(before[name], after[name]), name
    told = results(output_folder(tmp_path))
    names = ("init_from", "extra_clean_folder", "extra_noise_folder")
    assert [told[name] for name in names] == ["earlier", "more", "noise"]
    path = output_folder(tmp_path) / "results.json"
    for left_out, extra_data in (
        ((), "yes"),
        (names[:2], "yes"),
        (names[1:], "unknown"),
        (names, "no"),
    ):
        path.write_text(json.dumps(told | dict.fromkeys(left_out)))
        [run] = read_runs([str(output_folder(tmp_path))])
        assert run.entry.extra_data == extra_data
    # Its own checkpoint takes their place: they may be gone.
    shutil.rmtree(earlier)
    finish(tmp_path, **options, lr=0, average_decay=0)


def test_hostile_audio_does_no_harm(tmp_path):
    for i, (noisy, clean) in enumerate(pairs_of("trainset_28spk", 8)):
        write_pair(tmp_path / "{}", f"good{i}", noisy, clean)
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE)
    speech = pairs_of("testset", 1)[0][1]
    square = np.where(np.arange(RATE) // 20 % 2, 1.0, -1.0)
    hostile = {
        "silent": (np.zeros(RATE), np.zeros(RATE)),
        "silent_clean": (noise, np.zeros(RATE)),
        "silent_noisy": (np.zeros(RATE), speech),
        "sample": ([0.5], [0.5]),
        "clipped": (np.clip(50 * speech + noise, -1, 1), speech),
        "dc": (np.full(RATE, 0.5), np.full(RATE, 0.5)),
        "square": (square, square),
    }
    for copy in range(3):  # so that each split has some
        for name, pair in hostile.items():
            write_pair(tmp_path / "{}", f"{name}{copy}", *pair)
    folder = finish(
        tmp_path,
        **SMALL | {"metrics": "[pesq_wb, si_sdr]", "batch_size": 4},
        noisy_folder=tmp_path / "noisy",
        clean_folder=tmp_path / "clean",
    )
    found = results(folder)
    assert found["skipped_steps"] == 0 and found["optimizer_steps"] >= 4
    with open(folder / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for version in ("noisy", "enhanced"):
        for metric in ("pesq_wb", "si_sdr"):
            values = [row[f"{version}_{metric}"] for row in rows]
            scores = [float(value) for value in values if value]
            report = found["test"][version]
            assert np.isfinite(scores).all()
            failed = sum(report["failures"].get(metric, {}).values())
            assert failed == len(values) - len(scores)
            mean = report[metric]
            if scores:
                assert mean == pytest.approx(np.mean(scores), abs=1e-3)
            else:
                assert mean is None
    assert sum(found["test"]["noisy"]["failures"]["pesq_wb"].values()) > 0
    for row in rows:
        wave, _ = soundfile.read(folder / "enhanced" / f"{row['id']}.wav")
        assert np.isfinite(wave).all()


# ------------------------------------------------------------- run options


def test_debug_touches_no_results(trained, tmp_path, voicebank):
    folder = copy_of(trained, tmp_path)
    before = snapshot(folder)
    debug = SMALL | {"lr": 0.1, "data_folder": voicebank}
    finish(tmp_path, "--debug", "--grad_accumulation_factor=9", **debug)
    after = snapshot(folder)
    assert {path: after[path] for path in before} == before
    assert results(folder / "debug")["test"]["enhanced"]["utterances"] == 2
    assert not list((folder / "debug" / "save").glob("CKPT+*"))


def test_corpus_on_the_device(tmp_path):
    finish(tmp_path, "--debug", **SMALL, corpus_on_device=True)
    folder = output_folder(tmp_path) / "debug"
    said = (folder / "log.txt").read_text()
    assert "The training corpus takes 3 MB on cpu" in said
    assert results(folder)["optimizer_steps"] == 2


def test_options_of_precision_steps_and_tensorboard(tmp_path, voicebank):
    flags = [
        "--eval_precision=bf16",
        "--optimizer_step_limit=2",
        "--ckpt_interval_minutes=1",
        "--nonfinite_patience=1",
    ]
    options = SMALL | {"precision": "bf16", "data_folder": voicebank}
    tensorboard = find_spec("tensorboard") is not None
    options |= {"use_tensorboard": tensorboard, "number_of_epochs": 4}
    folder = finish(tmp_path, *flags, **options)
    found = results(folder)
    assert (found["optimizer_steps"], found["precision"]) == (2, "bf16")
    assert found["skipped_steps"] == 0
    if tensorboard:
        [events] = (folder / "tensorboard").glob("events*")
        assert b"pesq_wb/valid" in events.read_bytes()
    # Testing alone writes the same scores.
    (folder / "results.json").unlink()
    finish(tmp_path, "--test_only", *flags, **options)
    assert results(folder)["test"] == found["test"]
