"""A training that is killed ends as one that is not."""

import random
import time

import pytest
import torch
from recipe_process import Run, command, finish, output_folder, results

from phasen_sb.checkpoints import UNFINISHED

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
            return False
        time.sleep(0.002)
    return True


def kill_in_training(folder, arguments, moment):
    """Starts the recipe and kills it ``moment`` seconds into its training."""
    running = Run(folder, arguments)
    alive = wait_until(running, lambda: "Going into epoch" in running.text())
    if alive:
        time.sleep(moment)
    running.kill()
    return running.process.exitcode == -9


def kill_in_checkpoint(folder, arguments):
    """Starts the recipe and kills it while it writes a checkpoint."""
    running = Run(folder, arguments)
    pattern = f"results/*/*/save/{UNFINISHED}*"
    old = set(folder.glob(pattern))
    wait_until(running, lambda: set(folder.glob(pattern)) - old)
    running.kill()
    return running.process.exitcode == -9


@pytest.mark.parametrize(
    "case, kills, flags, options",
    [
        ("pairs", 3, ["--ckpt_interval_steps", "1"], {"num_workers": 0}),
        (
            "mix",
            2,
            ["--ckpt_interval_steps=1", "--grad_accumulation_factor=3"],
            {"num_workers": 2, "remix_probability": 0.5},
        ),
        ("pairs", 1, [], {"num_workers": 1, "validate_every": 2}),
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
    began = time.monotonic()
    whole = finish(tmp_path / "whole", *flags, **options)
    seconds = time.monotonic() - began

    broken = tmp_path / "broken"
    arguments = command(*flags, **options)
    draw = random.Random(str(flags))
    killed = [kill_in_checkpoint(broken, arguments)]
    for _ in range(kills):
        moment = draw.uniform(0, 0.2 * seconds)
        killed.append(kill_in_training(broken, arguments, moment))
    # On a busy machine a late kill may find the run over.
    assert any(killed)
    finish(broken, *flags, **options)
    assert_same(final_state(output_folder(broken)), final_state(whole))
