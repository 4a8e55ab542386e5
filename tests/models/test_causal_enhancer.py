"""The enhancer around a causal network: its latency, and the running level."""

import pytest
import torch
from helpers.causal_model import FRONT_ENDS, build
from helpers.signals import noise
from speechbrain.processing import features

import phasen_sb
from phasen_sb import PHASEN, PhasenEnhancer
from phasen_sb.signals.running_level import follow_level

front_ends = pytest.mark.parametrize("front_end", FRONT_ENDS)


@front_ends
@pytest.mark.parametrize("late, win_length", [(0, 32), (2, 25)])
@pytest.mark.parametrize("sample", [1000, 1031, 1056])
def test_a_sample_changes_nothing_before_the_latency(
    front_end, late, win_length, sample
):
    enhancer = build(front_end, late, win_length)
    latency = enhancer.latency_samples
    assert latency == 4 * win_length + late * 64
    x = noise(1, 2000)
    changed = x.clone()
    changed[0, sample:] += 1
    with torch.no_grad():
        one, other = enhancer(x)[0][0], enhancer(changed)[0][0]
    first = int((one != other).nonzero()[0])
    assert sample - latency < first <= sample - latency + 64


def test_it_has_no_latency_if_it_needs_the_whole_utterance():
    whole = build("speechbrain", normalize=True)
    assert whole.latency_samples is None and whole.latency is None
    network = PHASEN(n_fft=128, recurrent_units=5)
    stft, istft = features.STFT(4000), phasen_sb.ISTFT(4000)
    enhancer = PhasenEnhancer(stft, istft, network, "running")
    assert enhancer.latency_samples is None


@front_ends
def test_an_utterance_in_a_padded_batch_comes_out_as_alone(front_end):
    enhancer = build(front_end)
    x = noise(2, 2000)
    with torch.no_grad():
        waves, _ = enhancer(x, torch.tensor([1.0, 0.6]))
        alone, _ = enhancer(x[1:, :1200])
    assert torch.allclose(waves[1, :1200], alone[0], atol=1e-5)


def test_gain_in_is_gain_out():
    enhancer = build("speechbrain")
    x = noise(1, 2000)
    with torch.no_grad():
        one, other = enhancer(x)[0], enhancer(1e-3 * x)[0]
    assert torch.allclose(1e-3 * one, other, atol=1e-7)


def test_the_level_is_a_weighted_mean_of_what_was_heard():
    """Also of more frames than are added up at once, and in two calls."""
    powers = noise(2, 700).square()
    powers[0, :50] = 0.0
    levels, _ = follow_level(powers, 0.99)
    ages = torch.arange(700).flip(0)
    weights = 0.99**ages * (powers > 0)
    expected = (powers * weights).sum(1) / weights.sum(1)
    assert torch.allclose(levels[:, -1], expected.sqrt(), rtol=1e-4)
    first, state = follow_level(powers[:, :51], 0.99)
    assert torch.allclose(first[0, 50], powers[0, 50].sqrt(), rtol=1e-4)
    second, _ = follow_level(powers[:, 51:], 0.99, state)
    assert torch.allclose(torch.cat([first, second], 1), levels, rtol=1e-5)


def test_wrong_level_is_named():
    with pytest.raises(ValueError, match="normalize is 'walking'.*running"):
        build("speechbrain", normalize="walking")
