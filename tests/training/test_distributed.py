"""Two processes train, share the evaluation, and write once."""

import socket
import subprocess
import sys

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

OPTIONS = {
    "batch_size": 2,
    "number_of_epochs": 1,
    "metrics": "[pesq_wb, si_sdr]",
    "pictured_utterances": 1,
}
FLAGS = ("--distributed_backend=gloo",)


def run_two(folder, *flags, script=RECIPE, **options):
    """Both processes of a run, started as torchrun does."""
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
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
            script,
        )
        for rank in range(2)
    ]
    return runs


def finish_two(folder, *flags, **options):
    for running in run_two(folder, *flags, **options):
        assert running.wait() == 0, running.text()
    return output_folder(folder)


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
    for key in ("test", "valid", "epoch", "optimizer_steps", "seed"):
        assert alone[key] == trained[key], key
    for path, wave in waves.items():
        assert (soundfile.read(path)[0] == wave).all()


def test_corpus_on_the_device_is_shared(tmp_path, voicebank):
    script = tmp_path / "writing.py"
    script.write_text(
        "import os, runpy\n"
        "from phasen_sb.training.brain import EnhancementBrain\n"
        "def write(self, batch, should_step):\n"
        "    with open(f'ids{os.environ[\"RANK\"]}', 'a') as file:\n"
        "        print(*batch.id, file=file)\n"
        "EnhancementBrain.on_fit_batch_start = write\n"
        f"runpy.run_path({str(RECIPE)!r}, run_name='__main__')\n"
    )
    for running in run_two(
        tmp_path, script=script, data_folder=voicebank, corpus_on_device=True
    ):
        assert running.wait() == 0, running.text()
    assert results(output_folder(tmp_path))["optimizer_steps"] == 2
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
    script = tmp_path / "failing.py"
    script.write_text(
        "import os, runpy, sys\n"
        "import phasen_sb.training.brain as brain\n"
        "def fail(self, batch):\n"
        "    raise brain.UserError('This process fails.')\n"
        "if os.environ['RANK'] == '1':\n"
        "    brain.EnhancementBrain.fit_batch = fail\n"
        f"runpy.run_path({str(RECIPE)!r}, run_name='__main__')\n"
    )
    other, failing = run_two(tmp_path, script=script, data_folder=voicebank)
    assert failing.wait() == 1
    assert "Error: This process fails." in failing.text()
    assert other.wait() != 0
    assert not (output_folder(tmp_path) / "results.json").exists()


def test_no_process_overtakes_a_checkpoint(tmp_path, voicebank):
    script = tmp_path / "slow.py"
    script.write_text(
        "import os, runpy, time\n"
        "rename = os.rename\n"
        "def rename_slowly(*paths):\n"
        "    time.sleep(2)\n"
        "    rename(*paths)\n"
        "os.rename = rename_slowly\n"
        f"runpy.run_path({str(RECIPE)!r}, run_name='__main__')\n"
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
        "from phasen_sb.network.norms import synchronize_norms\n"
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


def test_torchrun_trains(tmp_path, voicebank):
    options = OPTIONS | {"data_folder": voicebank, "num_workers": 1}
    launcher = [sys.executable, "-m", "torch.distributed.run"]
    answer = subprocess.run(
        [*launcher, "--nproc_per_node=2", "--standalone", str(RECIPE)]
        + command(*FLAGS, **options),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert answer.returncode == 0, answer.stderr
    folder = output_folder(tmp_path)
    assert results(folder)["test"]["enhanced"]["pesq_wb"] > 1
    [checkpoint] = (folder / "save").glob("CKPT+*")
    weights = torch.load(checkpoint / "averaged.ckpt")
    assert not any("module.module" in name for name in weights)
