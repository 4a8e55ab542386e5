"""Steps as a GPU makes them, here on a CPU: the same, but read later."""

import copy
import math
from functools import partial

import pytest
import torch
from helpers.small_brain import fit

from phasen_sb.errors import UserError
from phasen_sb.training import steps
from phasen_sb.training.optimizers import make_optimizer

CONSTANT = {"warmup_steps": 0, "lr_final_share": 1.0}


@pytest.fixture
def trained(make_brain, monkeypatch, tmp_path):
    """Trains a Brain whose steps are read at once, or later."""

    def train(later, run_opts=None, **settings):
        folder = str(tmp_path / f"{later}")
        brain = make_brain(
            run_opts, **{"output_folder": folder, **CONSTANT, **settings}
        )
        brain.opt_class = partial(torch.optim.Adam, lr=5e-4, fused=True)
        brain.is_read_later = lambda: later
        reads = []
        read = brain.read
        brain.read = lambda *scalars: reads.append(scalars) or read(*scalars)
        fit(brain, brain.datasets["valid"])
        brain.reads = len(reads)
        return brain

    monkeypatch.setattr(steps, "READ_EVERY", 3)
    return train


def state_of(brain):
    states = {
        "network": brain.enhancer.state_dict(),
        "average": brain.averaged.state_dict(),
    }
    for number, state in brain.optimizer.state_dict()["state"].items():
        states[f"optimizer {number}"] = state
    return {
        f"{name} {key}": value
        for name, state in states.items()
        for key, value in state.items()
    }


@pytest.mark.parametrize("factors", [[1.0], [1.0, math.nan, 1.0, math.inf]])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_steps_that_are_read_later_are_the_same(
    factors, accumulation, trained, caplog
):
    options = {"grad_accumulation_factor": accumulation}
    settings = {"factors": factors, "number_of_epochs": 2}
    now = trained(False, options, **settings)
    said = [record.message for record in caplog.records if "Step" in record.msg]
    caplog.clear()
    later = trained(True, options, **settings)
    assert said == [r.message for r in caplog.records if "Step" in r.msg]
    assert now.optimizer_step == later.optimizer_step
    assert now.skipped_steps == later.skipped_steps == len(said)
    assert now.train_stats == later.train_stats
    assert now.reads == 8 and later.reads == 4
    expected, found = state_of(now), state_of(later)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key], value, rtol=1e-5, atol=1e-8, msg=key
        )


def test_a_skipped_step_changes_nothing(trained):
    brain = trained(True, {"nonfinite_patience": 4}, factors=[1.0] * 4)
    before = copy.deepcopy(state_of(brain))
    brain.objective.terms["loss"][0].factors = iter([math.nan] * 4)
    brain.fit(
        [2], brain.datasets["train"], train_loader_kwargs={"batch_size": 2}
    )
    assert brain.skipped_steps == 4
    for key, value in state_of(brain).items():
        assert torch.equal(value, before[key]), key


def test_training_stops_when_it_persists(trained):
    with pytest.raises(UserError, match="not finite in 2 steps in a row.*p001"):
        trained(True, {"nonfinite_patience": 1}, factors=[math.nan] * 40)


def test_the_limit_counts_steps_that_were_taken(trained):
    brain = trained(
        True,
        {"optimizer_step_limit": 2},
        factors=[math.nan, 1.0, math.nan, 1.0],
    )
    assert brain.optimizer_step == 2 and brain.skipped_steps == 2


@pytest.mark.parametrize("fused", [None, True])
def test_an_optimizer_keeps_its_implementation(fused):
    weight = torch.nn.Parameter(torch.ones(2))
    make = partial(torch.optim.Adam, fused=fused)
    optimizer = make_optimizer(make, [weight], "cpu")
    weight.grad = torch.ones(2)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["param_groups"][0]["fused"] = not fused
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["fused"] is fused
    optimizer.step()
    assert optimizer.state[weight]["step"] == 2


@pytest.mark.parametrize(
    "optimizer, expected",
    [
        (torch.optim.Adam, True),
        (partial(torch.optim.AdamW, lr=0.1), True),
        (partial(torch.optim.Adam, fused=False), False),
        (partial(torch.optim.Adam, foreach=True), None),
    ],
)
def test_a_gpu_gets_fused_optimizers(optimizer, expected):
    weight = torch.nn.Parameter(torch.ones(2))
    made = make_optimizer(optimizer, [weight], "cuda")
    assert made.param_groups[0]["fused"] is expected
    assert made.param_groups[0]["lr"] == getattr(optimizer, "keywords", {}).get(
        "lr", 1e-3
    )


def test_an_optimizer_without_fused_is_read(make_brain):
    made = make_optimizer(
        torch.optim.Adamax, [torch.nn.Parameter(torch.ones(2))], "cuda"
    )
    brain = make_brain()
    brain.device, brain.optimizer = "cuda", made
    assert not brain.is_read_later()
