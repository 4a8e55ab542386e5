"""The loss against numpy, its options, padding, silence."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers.signals import noise
from speechbrain.utils.metric_stats import MetricStats

from phasen_sb import compressed_complex_loss

FRAMES = [10, 6, 1]
LENGTHS = torch.tensor(FRAMES) / 10


@pytest.fixture
def pair():
    return noise(3, 10, 5, 2), noise(3, 10, 5, 2, seed=1)


def numpy_terms(
    predictions, targets, power=0.3, compression="own", floor=1e-3, eps=1e-10
):
    """Amplitude and phase-aware error of each bin of one utterance."""
    z = torch.view_as_complex(predictions).numpy().astype(np.complex128)
    s = torch.view_as_complex(targets).numpy().astype(np.complex128)
    own = np.sqrt(np.abs(z) ** 2 + eps)
    clean = np.sqrt(np.abs(s) ** 2 + eps)
    amplitude = (own**power - clean**power) ** 2
    if compression == "own":
        difference = z * own ** (power - 1) - s * clean ** (power - 1)
    else:
        factor = np.maximum(clean, floor * clean.max()) ** (power - 1)
        difference = (z - s) * factor
    return amplitude, np.abs(difference) ** 2 / 2


OPTIONS = [
    {},
    {"power": 0.5},
    {"compression": "target"},
    {"compression": "target", "magnitude_floor": 0.5},
    {"compression": "target", "magnitude_floor": 0, "power": 0.7},
    {"eps": 0.1},
    {"scale": 514.0},
    {"scale": True},  # twice the number of bins
    {"amplitude_weight": 0.2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_numpy_in_every_reduction(pair, options):
    chosen = dict(options)
    scale = chosen.pop("scale", 1.0)
    scale = 10 if scale is True else scale
    weight = chosen.pop("amplitude_weight", 0.5)
    chosen["floor"] = chosen.pop("magnitude_floor", 1e-3)
    errors = []
    for z, s, frames in zip(*pair, FRAMES, strict=True):
        amplitude, phase = numpy_terms(z[:frames], s[:frames], **chosen)
        errors.append(scale * (weight * amplitude + (1 - weight) * phase))
    loss = partial(compressed_complex_loss, *pair, LENGTHS, **options)
    total = sum(error.sum() for error in errors)
    expected = {
        "mean": total / (5 * sum(FRAMES)),
        "batch": [error.mean() for error in errors],
        "batchmean": total / 3,
        "sum": total,
    }
    for reduction, value in expected.items():
        actual = loss(reduction=reduction).double()
        assert torch.allclose(actual, torch.tensor(value).double(), rtol=1e-5)
    bins = loss(reduction="none")
    assert bins.shape == (3, 10, 5)
    for i, frames in enumerate(FRAMES):
        assert np.allclose(bins[i, :frames], errors[i], rtol=1e-4)
        assert not bins[i, frames:].any()
    assert loss() == loss(reduction="mean")


def test_known_values():
    """|S| = 1, |S_hat| = 16, a quarter turn apart; power 1/2."""
    s, z = torch.zeros(2, 1, 1, 1, 2)
    s[..., 0], z[..., 1] = 1, 16
    loss, terms = compressed_complex_loss(z, s, power=0.5, return_terms=True)
    assert torch.allclose(terms["amplitude"], torch.tensor(9.0))  # (4 - 1)^2
    assert torch.allclose(terms["phase"], torch.tensor(8.5))  # (4^2 + 1) / 2
    assert torch.allclose(loss, torch.tensor(8.75))
    _, terms = compressed_complex_loss(
        z, s, power=0.5, compression="target", return_terms=True
    )
    assert torch.allclose(terms["phase"], torch.tensor(257 / 2))
    assert not terms["phase"].requires_grad


def test_perfect_is_zero_and_only_phase_counts_rotation(pair):
    z, _ = pair
    turned = torch.stack([-z[..., 1], z[..., 0]], dim=-1)
    assert compressed_complex_loss(z, z) == 0
    _, terms = compressed_complex_loss(z, turned, return_terms=True)
    assert terms["amplitude"] < 1e-12 and terms["phase"] > 0.1


@pytest.mark.parametrize("compression", ["own", "target"])
def test_padding_does_not_count(pair, compression):
    z, s = (x.clone().requires_grad_() for x in pair)
    loss = partial(
        compressed_complex_loss, compression=compression, reduction="batch"
    )
    masked = loss(z, s, LENGTHS)
    for i, frames in enumerate(FRAMES):
        cropped = loss(z[i : i + 1, :frames], s[i : i + 1, :frames])
        assert torch.allclose(masked[i], cropped[0])
    masked.sum().backward()
    for i, frames in enumerate(FRAMES):
        assert not z.grad[i, frames:].any() and z.grad[i, :frames].any()


def test_serves_speechbrains_metric_stats(pair):
    stats = MetricStats(metric=partial(compressed_complex_loss, power=0.4))
    stats.append(["a", "b", "c"], *pair, LENGTHS, reduction="batch")
    expected = compressed_complex_loss(
        *pair, LENGTHS, power=0.4, reduction="batch"
    )
    assert np.allclose(stats.scores, expected)
    assert np.isclose(stats.summarize("average"), expected.mean())


def gradient(z, s, **options):
    z = z.clone().requires_grad_()
    loss = compressed_complex_loss(z, s, **options)
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()
    return loss.item(), z.grad


@pytest.mark.parametrize("compression", ["own", "target"])
def test_silence_has_finite_values_and_gradients(compression):
    silence, signal = torch.zeros(1, 10, 5, 2), noise(1, 10, 5, 2)
    for z in (silence, signal, 1e-20 * signal, 1e10 * signal):
        for s in (silence, signal, 1e-20 * signal):
            gradient(z, s, compression=compression)
    with torch.autocast("cpu", torch.bfloat16):
        gradient(silence, signal.bfloat16(), compression=compression)


def test_studio_silence_does_not_explode_with_target_compression():
    """Digital zero around some speech, against 40 dB of residual noise."""
    s = 3 * noise(1, 50, 5, 2)
    s[:, 3:] = 0
    z = s + 0.03 * noise(1, 50, 5, 2, seed=1)
    own, _ = gradient(z, s)
    target, slope = gradient(z, s, compression="target")
    assert target < 10 * own and slope.abs().max() < 1
    bare, _ = gradient(z, s, compression="target", magnitude_floor=0)
    assert bare > 1000


def test_computes_in_fp32_whatever_the_precision(pair):
    z, s = pair
    expected = compressed_complex_loss(z, s)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(compressed_complex_loss(z, s), expected)
    z, s = z.bfloat16(), s.bfloat16()
    expected = compressed_complex_loss(z.float(), s.float())
    assert torch.equal(compressed_complex_loss(z, s), expected)


def test_allowed_len_diff(pair):
    z, s = pair
    expected = compressed_complex_loss(z[:, :8], s[:, :8])
    assert compressed_complex_loss(z[:, :8], s) == expected
    assert compressed_complex_loss(z, s[:, :8]) == expected
    with pytest.raises(ValueError, match="should be same length"):
        compressed_complex_loss(z[:, :6], s)
    with pytest.raises(ValueError, match="should be same length"):
        compressed_complex_loss(z[:, :8], s, allowed_len_diff=1)


@pytest.mark.parametrize(
    "option", [{"compression": "both"}, {"reduction": "median"}]
)
def test_unknown_options_are_named(pair, option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} is '{value}'; .* one of"):
        compressed_complex_loss(*pair, **option)
