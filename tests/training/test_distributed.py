"""Two processes train, share the evaluation, and write once."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch
from helpers.recipe_process import (
    RECIPE,
    Run,
    command,
    finish,
    output_folder,
    results,
)

from phasen_sb.data.shard_folders import shard_folders
from phasen_sb.training.processes import LOST

OPTIONS = {
    "batch_size": 2,
    "number_of_epochs": 1,
    "metrics": "[pesq_wb, si_sdr]",
    "pictured_utterances": 1,
}
FLAGS = ("--distributed_backend=gloo",)


def run_two(folder, *flags, script=RECIPE, count=2, **options):
    """The processes of a run, started as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = [
        Run(
            folder,
            command(*FLAGS, *flags, **(OPTIONS | options)),
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
            script,
        )
        for rank in range(count)
    ]
    return runs


def finish_two(folder, *flags, **options):
    for running in run_two(folder, *flags, **options):
        assert running.wait() == 0, running.text()
    return output_folder(folder)


def patched_recipe(folder, code):
    """A script that changes the recipe's modules, and then runs it."""
    script = folder / "patched.py"
    run = f"import runpy\nrunpy.run_path({str(RECIPE)!r}, run_name='__main__')"
    script.write_text(f"{code}\n{run}\n")
    return script


def test_evaluation_is_shared_and_the_same(tmp_path, voicebank):
    # 7, 2 and 3 utterances: shards and last batches are unequal.
    folder = finish_two(tmp_path, data_folder=voicebank)
    trained = results(folder)
    assert trained["optimizer_steps"] == 2
    log = (folder / "train_log.txt").read_text().splitlines()
    assert len(log) == 4  # written by one process: noisy, noisy, epoch, test
    waves = {}
    for path in (folder / "enhanced").iterdir():
        waves[path] = soundfile.read(path)[0]
        path.unlink()
    assert len(waves) == 3
    finish(tmp_path, "--test_only", **OPTIONS, data_folder=voicebank)
    alone = results(folder)
    # One process of four has nothing to validate on, nor to test on.
    finish_two(tmp_path, "--test_only", count=4, data_folder=voicebank)
    for found in (alone, results(folder)):
        for key in ("test", "valid", "epoch", "optimizer_steps", "seed"):
            assert found[key] == trained[key], key
    for path, wave in waves.items():
        assert (soundfile.read(path)[0] == wave).all()


def test_corpus_on_the_device_is_shared(tmp_path, voicebank):
    script = patched_recipe(
        tmp_path,
        "import os\n"
        "from phasen_sb.training.brain import EnhancementBrain\n"
        "def write(self, batch, should_step):\n"
        "    with open(f'ids{os.environ[\"RANK\"]}', 'a') as file:\n"
        "        print(*batch.id, file=file)\n"
        "EnhancementBrain.on_fit_batch_start = write\n",
    )
    folder = finish_two(
        tmp_path, script=script, data_folder=voicebank, corpus_on_device=True
    )
    assert results(folder)["optimizer_steps"] == 2
    shares = [(tmp_path / f"ids{rank}").read_text() for rank in range(2)]
    assert [share.count("\n") for share in shares] == [2, 2]
    seen = [share.split() for share in shares]
    # 7 utterances for twice 4 places: one is there twice.
    assert [len(ids) for ids in seen] == [4, 4]
    assert len({*seen[0], *seen[1]}) == 7


def test_debug_where_one_process_has_nothing_to_validate(tmp_path, voicebank):
    folder = finish_two(
        tmp_path, "--debug", data_folder=voicebank, valid_speakers="[p226]"
    )
    found = results(folder / "debug")
    for version in ("noisy", "enhanced"):
        assert found["valid"][version]["utterances"] == 1
        assert found["test"][version]["utterances"] == 3


def test_both_processes_end_when_one_fails(tmp_path, voicebank):
    script = patched_recipe(
        tmp_path,
        "import os\n"
        "import phasen_sb.training.brain as brain\n"
        "def fail(self, batch):\n"
        "    raise brain.UserError('This process fails.')\n"
        "if os.environ['RANK'] == '1':\n"
        "    brain.EnhancementBrain.fit_batch = fail\n",
    )
    other, failing = run_two(tmp_path, script=script, data_folder=voicebank)
    assert failing.wait() == 1
    assert "Error: This process fails." in failing.text()
    assert other.wait() != 0
    assert not (output_folder(tmp_path) / "results.json").exists()


def test_no_process_overtakes_a_checkpoint(tmp_path, voicebank):
    script = patched_recipe(
        tmp_path,
        "import os, time\n"
        "rename = os.rename\n"
        "def rename_slowly(*paths):\n"
        "    time.sleep(1)\n"
        "    rename(*paths)\n"
        "os.rename = rename_slowly\n",
    )
    # Each epoch after the first deletes a checkpoint.
    for running in run_two(
        tmp_path, script=script, data_folder=voicebank, number_of_epochs=3
    ):
        assert running.wait(60) == 0, running.text()


def test_batch_norm_of_both_processes(tmp_path):
    script = tmp_path / "norms.py"
    script.write_text(
        "import torch, torch.distributed as dist\n"
        "from phasen_sb import BatchNorm\n"
        "from phasen_sb.network.batch_norm import synchronize_norms\n"
        "dist.init_process_group('gloo')\n"
        "rank = dist.get_rank()\n"
        "torch.manual_seed(0)\n"
        "x, weights = torch.randn(2, 3, 2, 7, 5).unbind()\n"
        "x = x * torch.tensor([1.0, 2.0, 5.0])[:, None, None, None] + 3\n"
        "valid = torch.ones(3, 1, 7, 1)\n"
        "valid[1, :, 4:] = valid[2, :, 2:] = 0\n"
        "def run(norm, part):\n"
        "    mine = x[part].clone().requires_grad_()\n"
        "    here = valid[part]\n"
        "    # The second process has a whole batch, without padding.\n"
        "    out = norm(mine, None if here.all() else here) * here\n"
        "    (out * weights[part]).sum().backward()\n"
        "    return out, mine.grad * here\n"
        "alone, both = BatchNorm(2), BatchNorm(2)\n"
        "wanted = run(alone, slice(None))\n"
        "synchronize_norms(both)\n"
        "part = slice(1, 3) if rank == 0 else slice(0, 1)\n"
        "for got, all_of_it in zip(run(both, part), wanted):\n"
        "    torch.testing.assert_close(got, all_of_it[part])\n"
        "for name, buffer in both.named_buffers():\n"
        "    torch.testing.assert_close(buffer, alone.get_buffer(name))\n"
        "for mine, all_of_it in zip(both.parameters(), alone.parameters()):\n"
        "    dist.all_reduce(mine.grad)\n"
        "    torch.testing.assert_close(mine.grad, all_of_it.grad)\n"
        "dist.destroy_process_group()\n"
    )
    for running in run_two(tmp_path, script=script):
        assert running.wait() == 0, running.text()


def test_batch_norms_of_pytorch_train_on_cpus(tmp_path, voicebank):
    finish_two(
        tmp_path,
        yaml="hparams/baselines/enhance_resnet.yaml",
        network=None,
        channel_counts="[4, 4]",
        dense_nodes=8,
        data_folder=voicebank,
    )


@pytest.fixture
def shards(tmp_path, speech_and_noise):
    """Options that train on shards, in the middle of whose epochs it stops."""
    folder = tmp_path / "shards"
    shard_folders(
        folder,
        clean=speech_and_noise / "speech",
        noise=speech_and_noise / "noise",
        shard_minutes=1.5 / 60,
    )
    last = {
        kind: len(list(folder.glob(f"{kind}-*.tar"))) - 1
        for kind in ("speech", "noise")
    }
    return {
        "clean_folder": f"{folder}/speech-{{000000..{last['speech']:06d}}}.tar",
        "noise_folder": f"{folder}/noise-{{000000..{last['noise']:06d}}}.tar",
        "batch_size": 1,
        "num_workers": 1,
        "precision": "bf16",
        "number_of_epochs": 6,
        "validate_every": 6,
        "sync_batch_norm": True,
    }


def wait_for_checkpoint(folder, seconds=60):
    """Waits until there is another one."""
    before = set(folder.glob("results/*/*/save/CKPT+*"))
    for _ in range(10 * seconds):
        if set(folder.glob("results/*/*/save/CKPT+*")) - before:
            return
        time.sleep(0.1)
    raise TimeoutError(folder)


def test_gradients_are_means_over_processes(tmp_path, shards):
    script = patched_recipe(
        tmp_path,
        """
import torch, torch.distributed as dist
from phasen_sb.training.brain import EnhancementBrain as Brain, sb

def gradients(brain):
    return torch.cat([p.grad.flatten() for p in brain.enhancer.parameters()])

def fit(brain, batch):
    with brain.no_sync():
        outputs = brain.compute_forward(batch, sb.Stage.TRAIN)
        brain.compute_objectives(outputs, batch, sb.Stage.TRAIN).backward()
    brain.own = gradients(brain)
    brain.optimizer.zero_grad()
    return fit_batch(brain, batch)

def step(brain):
    both = [None, None]
    dist.all_gather_object(both, (brain.batch_ids, brain.own))
    ids, own = zip(*both)
    seen.extend(ids[0] + ids[1])
    torch.testing.assert_close(gradients(brain), (own[0] + own[1]) / 2)
    assert not torch.allclose(*own, rtol=0.1)
    optimizers_step(brain)

seen = []
fit_batch, Brain.fit_batch = Brain.fit_batch, fit
optimizers_step, Brain.optimizers_step = Brain.optimizers_step, step
on_stage_end = Brain.on_stage_end

def end(brain, *args):
    assert len(seen) == len(set(seen)) == 6
    on_stage_end(brain, *args)

Brain.on_stage_end = end
""",
    )
    options = shards | {"precision": "fp32", "number_of_epochs": 1}
    finish_two(tmp_path, "--max_grad_norm=0", script=script, **options)


def test_killed_processes_do_not_matter(tmp_path, shards):
    flags = ("--grad_accumulation_factor=2", "--ckpt_interval_steps=2")
    whole = finish_two(tmp_path / "whole", *flags, **shards)

    # torchrun ends the other process when one is killed.
    folder = tmp_path / "killed"
    folder.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    with subprocess.Popen(
        [*launcher, "--nproc_per_node=2", str(RECIPE)]
        + command(*FLAGS, *flags, **(OPTIONS | shards)),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as launched:
        wait_for_checkpoint(folder)
        children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children")
        victim = children.read_text().split()[1]
        os.kill(int(victim), signal.SIGKILL)
        said = launched.communicate(timeout=60)[1]
    assert launched.returncode != 0
    assert f"Error: {LOST}" in said

    # Without it, the other one finds out by itself.
    other, victim = run_two(folder, *flags, **shards)
    wait_for_checkpoint(folder)
    victim.kill()
    assert other.wait(60) == 1
    assert f"Error: {LOST}" in other.text().splitlines()[-1]
    assert "Traceback" not in other.text()

    resumed = results(finish_two(folder, *flags, **shards))
    for key in ("test", "valid", "epoch", "optimizer_steps"):
        assert resumed[key] == results(whole)[key], key
    [checkpoint] = (output_folder(folder) / "save").glob("CKPT+*")
    weights = torch.load(checkpoint / "averaged.ckpt")
    assert not any("module.module" in name for name in weights)
    assert "skipped_shards: 0" in (whole / "train_log.txt").read_text()
