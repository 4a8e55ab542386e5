"""Norms against numpy; padding neither counts nor comes out."""

import numpy as np
import pytest
import torch
from torch import nn

from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.layer_norms import FrameLayerNorm, GlobalLayerNorm
from phasen_sb.network.layers import Conv2d, ConvNormAct, Linear
from phasen_sb.signals.padding import mark_valid_frames

FRAMES = [9, 4, 1]


@pytest.fixture
def batch():
    """Three utterances of 9, 4 and 1 frames with garbage behind them."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(3, 4, 9, 5, generator=generator) + 2
    return x, mark_valid_frames(torch.tensor(FRAMES) / 9, 9)


def randomize(module):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.uniform_(0.5, 2, generator=generator)
    return module


def assert_close(actual, expected, tolerance=1e-5):
    expected = torch.as_tensor(np.asarray(expected), dtype=torch.float32)
    assert torch.allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_batch_norm_trains_on_the_valid_frames_laid_end_to_end(batch):
    x, valid = batch
    norm = randomize(BatchNorm(4, momentum=0.25))
    old_mean, old_var = norm.running_mean.clone(), norm.running_var.clone()
    out = norm(x, valid)

    joined = np.concatenate(
        [x[i, :, :frames].numpy() for i, frames in enumerate(FRAMES)], axis=1
    ).astype(np.float64)  # [C, 14, F]
    mean, var = joined.mean((1, 2)), joined.var((1, 2))
    unbiased = joined.var((1, 2), ddof=1)
    expected = (x.numpy() - mean[:, None, None]) / np.sqrt(
        var[:, None, None] + 1e-5
    )
    expected = expected * norm.weight.detach().numpy()[:, None, None]
    expected = expected + norm.bias.detach().numpy()[:, None, None]
    assert_close(out * valid, expected * valid.numpy())
    assert_close(norm.running_mean, 0.75 * old_mean.numpy() + 0.25 * mean)
    assert_close(norm.running_var, 0.75 * old_var.numpy() + 0.25 * unbiased)


def test_compiled_batch_norm_is_the_same(batch):
    x, valid = batch
    results = []
    for compiled in (False, True):
        norm = randomize(BatchNorm(4, momentum=0.25))
        if compiled:
            norm.compile(backend="eager", fullgraph=True)
        wave = x.clone().requires_grad_()
        out = norm(wave, valid) * valid
        out.square().sum().backward()
        results.append([out, wave.grad, norm.weight.grad, *norm.buffers()])
    for ours, expected in zip(*results, strict=True):
        assert_close(ours, expected.detach(), 1e-4)


@pytest.mark.parametrize("with_lengths", [False, True])
def test_batch_norm_equals_pytorchs(batch, with_lengths):
    x, _ = batch
    ours, theirs = BatchNorm(4), nn.BatchNorm2d(4)
    valid = mark_valid_frames(torch.ones(3), 9) if with_lengths else None
    for step in range(3):
        assert torch.allclose(
            ours(x + step, valid), theirs(x + step), atol=1e-5
        )
    ours.eval(), theirs.eval()
    assert torch.allclose(ours(x, valid), theirs(x), atol=1e-5)
    ours.reset_parameters(), theirs.reset_parameters()
    assert torch.allclose(ours(x, valid), theirs(x), atol=1e-5)


@pytest.mark.parametrize("with_lengths", [False, True])
def test_batch_norm_of_a_single_value_uses_the_running_statistics(with_lengths):
    norm = randomize(BatchNorm(4))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(1, 4, 1, 1)
    valid = mark_valid_frames(torch.ones(1), 1) if with_lengths else None
    out = norm(x, valid)
    assert torch.allclose(out, norm.eval()(x, valid))
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())


def numpy_layer_norm(x, norm, axes, eps, ddof=0):
    x = x.double().numpy()
    out = x - x.mean(axes, keepdims=True)
    out = out / np.sqrt(x.var(axes, ddof=ddof, keepdims=True) + eps)
    weight, bias = (p.detach().numpy() for p in (norm.weight, norm.bias))
    return out * weight[:, None, None] + bias[:, None, None]


@pytest.mark.parametrize(
    ("norm", "axes", "ddof"),
    [
        (GlobalLayerNorm(4, eps=0.3), (0, 1, 2), 0),
        (GlobalLayerNorm(4, eps=0.3, unbiased=True), (0, 1, 2), 1),
        (FrameLayerNorm(4, eps=0.3), (0, 2), 0),
    ],
)
def test_layer_norms_equal_numpy_on_each_utterance(batch, norm, axes, ddof):
    x, valid = batch
    randomize(norm)
    padded = norm(x * valid, valid)
    assert not padded[valid.expand_as(padded) == 0].any()
    for i, frames in enumerate(FRAMES):
        alone = x[i, :, :frames]
        expected = numpy_layer_norm(alone, norm, axes, 0.3, ddof)
        assert_close(padded[i, :, :frames], expected)
        assert_close(norm(alone[None])[0], expected)


def test_conv_norm_act_is_zero_on_padding(batch):
    x, valid = batch
    unit = randomize(ConvNormAct(4, 6, (3, 5))).eval()
    padded = unit(x * valid, valid)
    assert not padded[valid.expand_as(padded) == 0].any()
    for i, frames in enumerate(FRAMES):
        alone = unit(x[i : i + 1, :, :frames])
        assert torch.allclose(padded[i, :, :frames], alone[0], atol=1e-5)


def test_conv_kernels_are_time_by_frequency():
    conv = Conv2d(1, 1, (3, 1))
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    reached = (conv(x) - conv(torch.zeros_like(x)))[0, 0].nonzero()
    assert reached.tolist() == [[1, 2], [2, 2], [3, 2]]
    with pytest.raises(ValueError, match=r"must be odd, got \(4, 1\)"):
        Conv2d(1, 1, (4, 1))


@pytest.mark.parametrize("layer", [(Conv2d, 3, 4, (1, 1)), (Linear, 3, 4)])
def test_layers_reset_to_the_initialisation_they_were_built_with(layer):
    cls, *sizes = layer

    def seven(module):
        nn.init.constant_(module.bias, 7)

    built = cls(*sizes, initializer=seven)
    assert (built.bias == 7).all()
    nn.init.zeros_(built.bias), nn.init.zeros_(built.weight)
    built.reset_parameters()
    assert (built.bias == 7).all() and built.weight.std() > 0
