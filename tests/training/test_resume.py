"""A training that is killed ends as one that is not."""

import time

import pytest
import torch
from helpers.recipe_process import Run, command, finish, output_folder, results

from phasen_sb.training.checkpoints import UNFINISHED

QUICK = {
    "batch_size": 2,
    "number_of_epochs": 3,
    "metrics": "[pesq_wb]",
    "pictured_utterances": 0,
}


def final_state(folder):
    """All that the training ended with, and what it logged and scored."""
    checkpoints = (folder / "save").glob("CKPT+*")
    last = max(
        checkpoints, key=lambda c: torch.load(c / "averaged.ckpt")["n_averaged"]
    )
    log = (folder / "train_log.txt").read_text().splitlines()
    return {
        "weights": torch.load(last / "enhancer.ckpt"),
        "average": torch.load(last / "averaged.ckpt"),
        "optimizer": torch.load(last / "optimizer.ckpt"),
        "log": sorted({line for line in log if "epoch:" in line}),
        "scores": results(folder)["test"],
    }


def assert_same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


def wait_until(running, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        if not running.process.is_alive():
            return
        time.sleep(0.002)


def kill(folder, arguments, epoch, moment):
    """Starts the recipe and kills it at a moment of an epoch.

    The moment is ``start``; ``saving``, while a checkpoint is being written;
    or ``saved``, after a checkpoint within the epoch.
    """
    running = Run(folder, arguments)
    wait_until(running, lambda: f"into epoch {epoch}" in running.text())
    if moment != "start":
        name = UNFINISHED if moment == "saving" else "CKPT+"
        pattern = f"results/*/*/save/{name}*"
        old = set(folder.glob(pattern))
        wait_until(running, lambda: set(folder.glob(pattern)) - old)
    running.kill()
    assert running.process.exitcode == -9, running.text()


@pytest.mark.parametrize(
    "case, kills, flags, options",
    [
        (
            "pairs",
            [(1, "saving"), (2, "saved")],
            ["--ckpt_interval_steps", "1"],
            {"num_workers": 0},
        ),
        (
            "mix",
            [(1, "saved")],
            ["--ckpt_interval_steps=1", "--grad_accumulation_factor=3"],
            {
                "num_workers": 2,
                "remix_probability": 0.5,
                "second_noise_probability": 0.5,
                "clean_probability": 0.3,
                "speed_probability": 0.5,
                "coloration_probability": 0.5,
                "reverberation_probability": 0.5,
                "hiss_probability": 0.5,
            },
        ),
        ("pairs", [(3, "start")], [], {"num_workers": 1, "validate_every": 2}),
        (
            "mix",
            [(1, "saved")],
            ["--ckpt_interval_steps=1"],
            {"corpus_on_device": True, "remix_probability": 0.5},
        ),
    ],
)
def test_killed_at_any_moment_it_ends_in_the_same_weights(
    case, kills, flags, options, tmp_path, voicebank, speech_and_noise
):
    data = {"data_folder": voicebank}
    if case == "mix":
        data = {
            "clean_folder": speech_and_noise / "speech",
            "noise_folder": speech_and_noise / "noise",
        }
    options = QUICK | data | options
    whole = finish(tmp_path / "whole", *flags, **options)
    broken = tmp_path / "broken"
    for epoch, moment in kills:
        kill(broken, command(*flags, **options), epoch, moment)
    finish(broken, *flags, **options)
    assert_same(final_state(output_folder(broken)), final_state(whole))
