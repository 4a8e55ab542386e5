"""Checkpoints are seen whole or not at all, and NaN is never the best."""

import math
import subprocess
import sys

import pytest
import torch

from phasen_sb.errors import UserError
from phasen_sb.training.checkpoints import UNFINISHED, AtomicCheckpointer

# Saves a whole checkpoint with value 1, then one with value 2 whose second
# part takes for ever.
SLOW_SAVER = """
import sys, time
import torch
from phasen_sb.training.checkpoints import AtomicCheckpointer

def slow(obj, path):
    if obj.weight.item() == 2:
        path.write_bytes(b"half of it")
        print("saving", flush=True)
        time.sleep(600)
    torch.save(obj.state_dict(), path)

net, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
saver = AtomicCheckpointer(
    sys.argv[1], {"net": net, "other": other}, custom_save_hooks={"other": slow}
)
for value in (1.0, 2.0):
    for layer in (net, other):
        torch.nn.init.constant_(layer.weight, value)
    saver.save_checkpoint(meta={"pesq_wb": value})
"""


def checkpointer(folder, **options):
    net, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    return AtomicCheckpointer(folder, {"net": net, "other": other}, **options)


def test_killed_while_saving_it_leaves_only_whole_checkpoints(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_SAVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "saving\n"
        process.kill()
    assert process.returncode == -9

    saver = checkpointer(tmp_path)
    (leftover,) = tmp_path.glob(UNFINISHED + "*")
    assert len(list(tmp_path.iterdir())) == 2
    assert len(saver.list_checkpoints()) == 1
    assert saver.recover_if_possible().meta["pesq_wb"] == 1.0
    assert saver.recoverables["net"].weight.item() == 1.0
    assert saver.recoverables["other"].weight.item() == 1.0

    # Of an earlier second: the next save would write over this one's name.
    leftover.rename(tmp_path / f"{UNFINISHED}CKPT+2020-01-01+00-00-00+00")
    saved = saver.save_checkpoint(meta={"pesq_wb": 3.0})
    assert not list(tmp_path.glob(UNFINISHED + "*"))
    assert len(saver.list_checkpoints()) == 2
    assert saver.find_checkpoint(max_key="pesq_wb").path == saved.path


def test_a_saver_that_fails_leaves_nothing_to_find(tmp_path):
    def full_disk(obj, path):
        raise OSError(28, "No space left on device")

    saver = checkpointer(tmp_path, custom_save_hooks={"other": full_disk})
    with pytest.raises(UserError, match="No space.*make room"):
        saver.save_checkpoint()
    assert saver.list_checkpoints() == []


def test_returned_checkpoint_is_where_it_says(tmp_path):
    saver = checkpointer(tmp_path)
    for options in ({}, {"name": "named"}, {"end_of_epoch": False}):
        saved = saver.save_checkpoint(meta={"epoch": 1}, **options)
        assert saved.path.parent == tmp_path and saved.path.is_dir()
        assert saved.meta["epoch"] == 1
        for path in saved.paramfiles.values():
            assert path.parent == saved.path
            torch.load(path)
        found = {checkpoint.path for checkpoint in saver.list_checkpoints()}
        assert saved.path in found
    assert len(found) == 3


def test_same_name_replaces_the_checkpoint(tmp_path):
    saver = checkpointer(tmp_path)
    for value in (1.0, 2.0):
        torch.nn.init.constant_(saver.recoverables["net"].weight, value)
        saver.save_checkpoint(meta={"value": value}, name="last")
    assert len(list(tmp_path.iterdir())) == 1
    torch.nn.init.zeros_(saver.recoverables["net"].weight)
    assert saver.recover_if_possible().meta["value"] == 2.0
    assert saver.recoverables["net"].weight.item() == 2.0


def test_nan_mapped_to_minus_infinity_is_never_the_best(tmp_path):
    saver = checkpointer(tmp_path)
    for score in (1.5, math.nan, 2.5, math.nan):
        score = -math.inf if math.isnan(score) else score
        saver.save_and_keep_only(
            meta={"pesq_wb": score}, max_keys=["pesq_wb"], keep_recent=True
        )
    fresh = checkpointer(tmp_path)
    assert fresh.find_checkpoint(max_key="pesq_wb").meta["pesq_wb"] == 2.5
    scores = [saved.meta["pesq_wb"] for saved in fresh.list_checkpoints()]
    assert sorted(scores) == [-math.inf, 2.5]  # the best and the latest
