"""Training for a given time, as a process of its own."""

import copy
import importlib
import json
import time
from types import SimpleNamespace

import pytest
import soundfile as sf
import torch
from helpers.recipe_process import ARGUMENTS, RECIPE, Run
from helpers.signals import noise
from helpers.small_brain import batches

from phasen_sb.models.loading import read_model
from phasen_sb.training.timed import restart

SCRIPT = RECIPE.with_name("timed_training.py")
TINY = {
    key: ARGUMENTS[key]
    for key in ("network", "n_fft", "win_length", "hop_length", "device")
} | {"crop_seconds": 0.2}


@pytest.fixture
def pack(tmp_path):
    for seed, part in enumerate(("speech", "noise")):
        (tmp_path / "pack" / part).mkdir(parents=True)
        wave = 0.1 * noise(1, 48000, seed=seed)[0].numpy()
        sf.write(tmp_path / "pack" / part / "a.flac", wave, 16000)
    return tmp_path / "pack"


def train(folder, *more, **options):
    words = ["hparams/phasen_pesq.yaml", "--noprogressbar", *more]
    for name, value in (TINY | options).items():
        words += [f"--{name}", str(value)]
    running = Run(folder, words, script=SCRIPT)
    return running.wait(), running.text()


def read_log(folder):
    return [json.loads(line) for line in open(folder / "log.jsonl")]


def test_it_trains_and_goes_on(pack, tmp_path):
    out = tmp_path / "out"
    options = {
        "pack": pack,
        "output_folder": out,
        "time_limit": 9,
        "margin": 1,
        "table_seconds": 8,
        "batches": "1",
        "precisions": "fp32",
    }
    status, text = train(
        tmp_path, "--modes", "no-such-mode", "--archive", **options
    )
    assert status == 0, text
    table = (out / "throughput.md").read_text()
    assert "| eager " in table and "Unrecognized mode" in table
    [line] = read_log(out)
    assert line["steps"] == line["batches"] > 0 == line["skipped_steps"]
    assert line["audio_seconds"] == pytest.approx(0.2 * line["steps"], abs=0.1)
    assert line["loss"] > 0 and line["pesq"] > 0 and line["batch"] == 1
    assert {path.name for path in out.iterdir()} == {
        "throughput.md",
        "log.jsonl",
        "model.tar.gz",
    }
    status, text = train(tmp_path, **options)
    assert status == 0, text
    assert read_log(out)[0] == line
    assert read_log(out)[1]["batches"] > line["batches"]
    assert not (out / "model.tar.gz").exists()  # a third run goes on from this
    model = read_model(out / "model")
    parameters = dict(model.build().named_parameters())
    for name, tensor in model.state.items():
        assert tensor.isfinite().all()
        if name in parameters:
            assert tensor.dtype == torch.float16


def test_a_restarted_brain_is_as_new(make_brain):
    brain = make_brain()
    given = batches(brain)
    brain.on_fit_start()
    brain.modules.train()
    initial = copy.deepcopy(brain.enhancer.state_dict())

    def run():
        for batch in given:
            brain.step += 1
            loss = brain.fit_batch(copy.deepcopy(batch))
            brain.avg_train_loss = brain.update_average(
                loss, brain.avg_train_loss
            )
        state = copy.deepcopy(brain.averaged.state_dict())
        rate = brain.optimizer.param_groups[0]["lr"]
        return state, rate, brain.avg_train_loss, brain.optimizer_step

    state, *numbers = run()
    restart(brain, initial)
    again, *others = run()
    assert numbers == others
    for name, value in state.items():
        assert torch.equal(value, again[name]), name


def test_a_slow_compiler_leaves_time_to_train(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    script = importlib.import_module("timed_training")
    monkeypatch.setattr("phasen_sb.training.throughput.TIMED", 0.05)
    options, _ = script.parse(
        "recipe --pack pack --batches 1 --precisions fp32 --modes slow "
        f"--time_limit 6 --margin 0 --output_folder {tmp_path}".split()
    )
    session = SimpleNamespace(
        hparams={"batch_size": 1, "crop_seconds": 1.0},
        device="cpu",
        prepare=lambda variant: (
            lambda: time.sleep(60 if variant.mode == "slow" else 0.01)
        ),
        synchronize=lambda: None,
        ready=None,
    )
    began = time.monotonic()
    chosen = script.find_fastest(session, options, began)
    assert 2 < time.monotonic() - began < 5
    assert chosen.variant.mode == "eager"
    assert "took longer than" in (tmp_path / "throughput.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pack": "nowhere"}, "There is no pack nowhere"),
        ({"crop_seconds": "null"}, "crop_seconds is null"),
        ({"init_from": "nowhere"}, "There is no folder nowhere"),
        ({"batches": "0"}, "No way to train worked"),
    ],
)
def test_errors_are_sentences(options, message, pack, tmp_path):
    status, text = train(
        tmp_path,
        **{"pack": pack, "output_folder": tmp_path / "out"} | options,
    )
    assert status == 1 and "Traceback" not in text
    assert text.splitlines()[-1].startswith("Error: ")
    assert message in text
