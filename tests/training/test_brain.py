"""Steps that are not finite, and what is never the best checkpoint."""

import math
import re

import pytest
import speechbrain as sb
import torch
from helpers.small_brain import Stream, batches, fit

from phasen_sb.errors import UserError
from phasen_sb.metrics.checkpoint_selection import selection_score
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.training.pictures import transform_matrices
from phasen_sb.training.results import write_results


def test_compiles_with_its_budget(make_brain, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "phasen_sb.training.brain.compile_network",
        lambda network, budget, **options: calls.append((network, budget)),
    )
    fit(make_brain(activation_memory_budget=0.25))
    assert not calls
    brain = make_brain({"compile": True}, activation_memory_budget=0.25)
    fit(brain)
    assert calls == [(brain.enhancer.network, 0.25)]


def state_of(brain):
    states = {"net": brain.enhancer, "average": brain.averaged}
    return {
        f"{name}.{key}": value.clone()
        for name, module in states.items()
        for key, value in module.state_dict().items()
    } | {"lr": torch.tensor(brain.optimizer.param_groups[0]["lr"])}


def assert_unchanged(before, after):
    for key, value in before.items():
        assert torch.equal(value, after[key]), key


# ------------------------------------------------------------ skipped steps


@pytest.mark.parametrize("bad", ["loss", "sample"])
def test_batch_that_is_not_finite_leaves_no_trace(bad, make_brain, caplog):
    brain = make_brain(factors=[1.0, math.nan] if bad == "loss" else ())
    one, other, third, _ = batches(brain)
    brain.on_fit_start()
    brain.modules.train()
    brain.fit_batch(one)
    before = state_of(brain)
    if bad == "sample":
        other.noisy_sig.data[0, 100] = math.inf
    loss = brain.fit_batch(other)
    assert not torch.isfinite(loss)
    assert_unchanged(before, state_of(brain))
    assert (brain.skipped_steps, brain.optimizer_step) == (1, 1)
    assert other.id[0] in caplog.text and "not finite" in caplog.text

    brain.fit_batch(third)
    assert (brain.skipped_in_a_row, brain.optimizer_step) == (0, 2)
    after = state_of(brain)
    assert any(not torch.equal(before[key], after[key]) for key in before)
    for key, value in after.items():
        assert torch.isfinite(value).all(), key


def test_bad_batch_spoils_its_accumulation_only(make_brain):
    brain = make_brain({"grad_accumulation_factor": 2}, factors=[1.0, math.inf])
    given = batches(brain)
    brain.on_fit_start()
    brain.modules.train()
    before = state_of(brain)
    for step, batch in enumerate(given, 1):
        brain.step = step
        brain.fit_batch(batch)
        if brain.step == 2:
            after = state_of(brain)
            for key, value in before.items():
                if "running" not in key and "num_batches" not in key:
                    assert torch.equal(value, after[key]), key
    assert (brain.skipped_steps, brain.optimizer_step) == (1, 1)


def test_skipped_steps_are_logged_and_survive_a_checkpoint(make_brain):
    brain = make_brain(factors=[1.0, math.nan])
    fit(brain, brain.datasets["valid"])
    log = open(brain.hparams.train_log).read()
    assert "train skipped_steps: 1" in log and "nan" not in log
    again = make_brain()
    batches(again)
    again.on_fit_start()
    assert again.skipped_steps == 1 and again.optimizer_step == 3


def test_terms_that_are_not_finite_do_not_count(make_brain):
    brain = make_brain()
    for value in (2.0, math.nan, 4.0):
        brain.add_terms({"one": torch.tensor(value), "other": torch.ones(())})
    assert brain.take_terms() == {"one": 3.0, "other": 1.0}
    brain.add_terms({"one": torch.tensor(math.inf)})
    assert brain.take_terms() == {}


def test_training_stops_when_it_persists_over_epochs(make_brain):
    # Four steps an epoch, of which the last one is good in the first.
    factors = [math.nan] * 3 + [1.0] + [math.nan] * 40
    brain = make_brain(
        {"nonfinite_patience": 5}, factors=factors, number_of_epochs=9
    )
    with pytest.raises(UserError, match="not finite in 6 steps in a row.*p001"):
        fit(brain)
    assert brain.optimizer_step == 1 and brain.skipped_steps == 9


# ------------------------------------------------------------ accumulation


@pytest.mark.parametrize("factor, steps", [(1, 4), (3, 2), (100, 1)])
def test_every_accumulation_makes_a_step(factor, steps, make_brain):
    brain = make_brain({"grad_accumulation_factor": factor})
    fit(brain)
    assert brain.optimizer_step == steps == brain.averaged.n_averaged


# ------------------------------------------------------------------ batches


def test_hooks_of_speechbrain_are_called(make_brain):
    brain = make_brain({"grad_accumulation_factor": 2})
    calls = []
    brain.on_fit_batch_start = lambda batch, step: calls.append(step)
    brain.on_fit_batch_end = lambda batch, found, loss, step: calls.append(
        (step, found["wave"].dim(), float(loss) > 0)
    )
    fit(brain)
    expected = [[step, (step, 2, True)] for step in (False, True) * 2]
    assert calls == sum(expected, [])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("compiled", [False, True])
def test_gpu_trains(compiled, make_brain):
    brain = make_brain({"device": "cuda", "compile": compiled})
    fit(brain, brain.datasets["valid"])
    assert brain.optimizer_step == 4 and brain.skipped_steps == 0


# ------------------------------------------------------- length of training


def test_ready_loader_trains_as_a_dataset_does(make_brain):
    brain = make_brain({"grad_accumulation_factor": 3}, number_of_epochs=2)
    loader = sb.dataio.dataloader.make_dataloader(
        brain.datasets["train"], batch_size=2
    )
    brain.fit(brain.hparams.epoch_counter, loader)
    # Two steps an epoch: the last accumulation is cut short.
    assert brain.optimizer_step == brain.hparams.lr_schedule.total_steps == 4


def test_loader_of_unknown_length_is_refused(make_brain):
    brain = make_brain()
    stream = Stream(brain.datasets["train"])
    loader = sb.dataio.dataloader.make_dataloader(stream, batch_size=2)
    with pytest.raises(UserError, match="total_steps of lr_schedule"):
        brain.fit(brain.hparams.epoch_counter, loader)


def test_rate_falls_to_the_end_of_a_limited_training(make_brain):
    brain = make_brain(
        {"optimizer_step_limit": 3}, number_of_epochs=50, warmup_steps=1
    )
    fit(brain)
    assert brain.optimizer_step == 3
    # A third of the way is left at the last step.
    assert brain.optimizer.param_groups[0]["lr"] == pytest.approx(0.0005 / 3)


# --------------------------------------------------------- loss and metrics


def test_trainable_kernels_do_not_shrink_the_loss(make_brain):
    kernels = "{sample_rate: 16000, trainable: True}"
    brain = make_brain(
        compute_stft=f"!new:phasen_sb.ConvSTFT {kernels}",
        compute_istft=f"!new:phasen_sb.ConvISTFT {kernels}",
    )
    ours, fixed = brain.hparams.compute_stft, brain.loss_stft
    assert ours.weight.requires_grad and not fixed.weight.requires_grad
    before = fixed.weight.clone()
    batch = batches(brain)[0]
    brain.on_fit_start()
    brain.modules.train()
    found = brain.compute_forward(batch, sb.Stage.TRAIN)
    loss = brain.compute_objectives(found, batch, sb.Stage.TRAIN)
    cost = brain.hparams.compute_cost
    frames = None
    if found["lengths"] is not None:
        counts = torch.round(found["lengths"] * found["clean"].shape[1])
        frames = (counts // 100 + 1) / (found["clean"].shape[1] // 100 + 1)
    expected = cost(fixed(found["wave"]), fixed(found["clean"]), frames)
    torch.testing.assert_close(loss, expected)
    brain.fit_batch(batch)
    assert torch.equal(fixed.weight, before)
    assert not torch.equal(ours.weight, before)
    assert ours.weight.isfinite().all()


def test_terms_of_a_weighted_objective_are_logged(make_brain):
    cost = "!name:speechbrain.nnet.loss.si_snr_loss.si_snr_loss"
    compressed = "!name:phasen_sb.compressed_complex_loss"
    brain = make_brain(
        compute_cost=f"!new:phasen_sb.Objective {{si_snr: {{loss: {cost} }}, "
        f"phasen: {{loss: {compressed} , weight: 0.5}}}}"
    )
    fit(brain, brain.datasets["valid"])
    log = open(brain.hparams.train_log).read()
    values = dict(re.findall(r"train (\w+): (\S+?),? ", log))
    assert {"si_snr", "phasen", "phasen_amplitude"} <= set(values)
    total = float(values["si_snr"]) + 0.5 * float(values["phasen"])
    assert float(values["loss"]) == pytest.approx(total, rel=0.02)


def test_scores_are_against_the_file_itself(make_brain):
    brain = make_brain()
    submitted = {}
    brain.metric_pool.submit = lambda key, *pair: submitted.update({key: pair})
    brain.on_fit_start = lambda: None
    loader = brain.make_dataloader(
        brain.datasets["valid"], sb.Stage.VALID, batch_size=2
    )
    for batch in loader:
        brain.evaluate_batch(batch, sb.Stage.VALID)
    for index, key in enumerate(brain.datasets["valid"].data_ids):
        clean = brain.datasets["valid"][index]["clean_sig"]
        assert torch.equal(submitted[key][0], clean)


def test_utterances_of_like_length_are_evaluated_together(make_brain):
    brain = make_brain(valid_batch_seconds=40)
    brain.on_fit_start = lambda: None
    waves, losses = {}, []
    for options in ({}, {"batch_size": 1}):
        loader = brain.make_dataloader(
            brain.datasets["test"], sb.Stage.TEST, **options
        )
        brain.test_waves = {}
        brain.evaluated_loss, brain.evaluated = 0.0, 0
        counts = []
        for batch in loader:
            brain.evaluate_batch(batch, sb.Stage.TEST)
            counts.append(len(batch.id))
        brain.metric_pool.collect()
        waves[max(counts)] = brain.test_waves
        losses.append(brain.evaluated_loss / brain.evaluated)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    alone = waves.pop(1)
    (together,) = waves.values()
    assert together.keys() == alone.keys()
    for key, wave in alone.items():
        assert abs(together[key] - wave).max() < 1e-5 * abs(wave).max()


# --------------------------------------------------------- best checkpoint


@pytest.mark.parametrize(
    "scores, loss, expected",
    [
        ([2.0, 3.0], 0.1, 2.5),
        ([4.0, None], 0.1, 2.5),  # not better than the line above
        ([None, None], 0.1, -math.inf),
        ([], 0.1, -math.inf),
        ([4.0], math.nan, -math.inf),
    ],
)
def test_what_cannot_be_scored_counts(scores, loss, expected):
    by_key = {
        str(i): {} if score is None else {"pesq_wb": score}
        for i, score in enumerate(scores)
    }
    report = MetricReport(("pesq_wb",), by_key)
    assert selection_score(report, loss) == expected


def test_nan_in_validation_is_never_best(make_brain):
    # After four training batches, the second validation loss is spoilt.
    brain = make_brain(factors=[1.0] * 5 + [math.nan], number_of_epochs=2)
    fit(brain, brain.datasets["valid"])
    found = brain.checkpointer.list_checkpoints()
    scores = {c.meta["epoch"]: c.meta["pesq_wb"] for c in found}
    assert scores[2] > 1 and scores.get(1, -math.inf) == -math.inf
    best = brain.checkpointer.find_checkpoint(max_key="pesq_wb")
    assert best.meta["epoch"] == 2
    assert "valid loss: nan" in open(brain.hparams.train_log).read()


def test_results_say_what_failed(make_brain, tmp_path):
    brain = make_brain(metrics=["pesq_wb", "stoi"])
    for split in ("valid", "test"):
        brain.score_noisy(split, brain.datasets[split])
    fit(brain, brain.datasets["valid"])
    untrained = transform_matrices(brain.enhancer.network)
    assert untrained
    for weight in brain.enhancer.parameters():
        torch.nn.init.constant_(weight, math.nan)
    brain.on_step()
    # The checkpoint is good; its network is spoilt after loading.
    brain.checkpointer.load_checkpoint = lambda checkpoint: None
    brain.evaluate(
        brain.datasets["test"],
        max_key="pesq_wb",
        test_loader_kwargs={"batch_size": 1},
    )
    scores = write_results(brain, brain.datasets, untrained)["test"]
    assert scores["enhanced"]["pesq_wb"] is None
    [count] = scores["enhanced"]["failures"]["pesq_wb"].values()
    assert count == scores["enhanced"]["utterances"] == 3
    assert scores["noisy"]["failures"] == {}
    table = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    assert len(table) == 4 and "pesq_wb: " in table[1]
