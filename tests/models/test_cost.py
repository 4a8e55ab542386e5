"""Parameters and multiply-accumulate operations are those of arithmetic."""

import pytest
import torch
from helpers.causal_model import build
from torch import nn

from phasen_sb import PHASEN
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.models.cost import count_macs, model_cost


@pytest.mark.parametrize(
    ("network", "shape", "macs"),
    [
        (nn.Conv2d(3, 5, (5, 3), padding=(2, 1)), (1, 3, 7, 11), 77 * 5 * 45),
        (nn.Conv2d(4, 4, 3, padding=1, groups=2), (1, 4, 6, 6), 36 * 4 * 18),
        # Two directions, four gates, from 10 inputs and 4 of their own.
        (nn.LSTM(10, 4, bidirectional=True), (6, 1, 10), 6 * 2 * 16 * 14),
    ],
)
def test_macs_of_single_layers(network, shape, macs):
    assert count_macs(network, torch.zeros(shape)) == macs


def test_macs_grow_with_frames_and_leave_the_network_alone():
    network = PHASEN(recurrent_units=8).train()
    short, long = (
        count_macs(network, torch.zeros(1, frames, 257, 2))
        for frames in (5, 10)
    )
    assert long == pytest.approx(2 * short, rel=1e-6)
    assert network.training and next(network.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("recipe", "millions", "giga_macs"),
    [("phasen", 8.77, 9.9), ("phasen_paper", 34.85, 75)],
)
def test_cost_of_our_networks(recipe, millions, giga_macs):
    hparams = Recipe.read(f"hparams/{recipe}.yaml", "data_folder: x").load()
    cost = model_cost(hparams["modules"]["enhancer"], 16000)
    assert cost.parameters / 1e6 == pytest.approx(millions, abs=0.005)
    # Against arithmetic on paper, which leaves out the smallest layers.
    assert cost.macs_per_second / 1e9 == pytest.approx(giga_macs, rel=0.03)


def test_latency_is_that_of_causal_models():
    assert model_cost(build("speechbrain", late=2), 4000).latency == 64
    whole = build("speechbrain", normalize=True)
    assert model_cost(whole, 4000).latency is None
