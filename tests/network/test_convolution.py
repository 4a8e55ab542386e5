"""Backward passes of our own: the gradients are autograd's."""

import pytest
import torch
import torch.nn.functional as F

from phasen_sb.network import convolution
from phasen_sb.network.convolution import convolve
from phasen_sb.network.gate import gate
from phasen_sb.network.layer_norms import FrameLayerNorm
from phasen_sb.network.layers import ConvNormAct
from phasen_sb.network.spectral_convolution import SpectralConvolution

LONG, WIDE, SHORT = (1, 25), (3, 25), (5, 5)
#: More frames than two pieces of a long input, and fewer than a long kernel.
MANY, FEW = 150, 7


def draw(kernel, frames, dtype=torch.float32, bins=6):
    torch.manual_seed(0)
    shapes = (2, 3, bins, frames), (4, 3, *kernel), (4,)
    return [
        torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes
    ]


def plain(x, weight, bias):
    padding = [size // 2 for size in weight.shape[2:]]
    return F.conv2d(x, weight, bias, padding=padding)


def gradients(function, inputs):
    out = function(*inputs)
    torch.manual_seed(1)
    grad = torch.randn(out.shape).to(out.dtype)
    return out, torch.autograd.grad(out, inputs, grad)


@pytest.mark.parametrize("kernel", [LONG, WIDE, SHORT])
@pytest.mark.parametrize("way", ["spectra", "exchange", "cut"])
def test_gradients_are_those_of_finite_differences(way, kernel, monkeypatch):
    monkeypatch.setattr(convolution, "PIECE", 3)
    ways = {
        "spectra": lambda *inputs: SpectralConvolution.apply(
            *inputs, kernel[1] // 2
        ),
        "exchange": lambda *inputs: convolution._Convolution.apply(
            *inputs, convolution._exchange
        ),
        "cut": lambda *inputs: convolution._Convolution.apply(
            *inputs, convolution._cut
        ),
    }
    inputs = draw(kernel, FEW, torch.float64, bins=4)
    torch.testing.assert_close(ways[way](*inputs), plain(*inputs))
    assert torch.autograd.gradcheck(ways[way], inputs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frames", [FEW, MANY])
@pytest.mark.parametrize("kernel", [LONG, WIDE, SHORT, (1, 1)])
@pytest.mark.parametrize("avx512", [True, False])
def test_training_equals_pytorch(kernel, frames, bias, avx512, monkeypatch):
    monkeypatch.setattr(convolution, "_lacks_avx512", lambda _: not avx512)
    monkeypatch.setattr(convolution, "has_winograd", lambda *_: False)
    inputs = draw(kernel, frames)
    inputs = inputs if bias else inputs[:2]

    def ours(x, weight, bias=None):
        return convolve(x, weight, bias, training=True)

    def theirs(x, weight, bias=None):
        return plain(x, weight, bias)

    out, grads = gradients(ours, inputs)
    expected, expected_grads = gradients(theirs, inputs)
    name = type(out.grad_fn).__name__
    if kernel in (LONG, WIDE) and torch.backends.mkl.is_available():
        assert name.startswith("SpectralConvolution")
    elif kernel == (1, 1):
        assert name == "TransposeBackward0"  # of rows as examples
    elif kernel == SHORT and frames == MANY and not avx512:
        assert name.startswith("_Convolution")
    else:
        assert name == "ConvolutionBackward0"
    tolerance = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(out, expected, **tolerance)
    torch.testing.assert_close(grads, expected_grads, **tolerance)


@pytest.mark.parametrize("frames", [FEW, MANY])
@pytest.mark.parametrize("kernel", [LONG, WIDE, SHORT, (5, 3)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bf16", [True, False])
def test_causal_kernels_see_the_past_alone(kernel, frames, training, bf16):
    """By every way to compute them, and so do their gradients."""
    inputs = draw(kernel, frames)
    past = kernel[1] - 1

    def theirs(x, weight, bias):
        padding = (kernel[0] // 2, 0)
        return F.conv2d(F.pad(x, (past, 0)), weight, bias, padding=padding)

    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours = gradients(lambda *i: convolve(*i, training, past), inputs)
        expected = gradients(theirs, inputs)
    tolerance = 2e-2 if bf16 else 1e-5
    for one, other in zip(ours[1], expected[1], strict=True):
        assert (one - other).norm() <= tolerance * other.norm()
    difference = (ours[0] - expected[0]).float().norm()
    assert difference <= tolerance * expected[0].float().norm()


def test_bf16_has_the_values_of_autocast_and_gradients_in_fp32():
    inputs = draw(LONG, MANY)
    with torch.autocast("cpu", torch.bfloat16):
        out, grads = gradients(lambda *i: convolve(*i, training=True), inputs)
        expected, expected_grads = gradients(plain, inputs)
    assert type(out.grad_fn).__name__.startswith("_Convolution")
    assert torch.equal(out, expected)
    for ours, theirs in zip(grads, expected_grads, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("no_grad", [True, False])
def test_inference_is_pytorch_to_the_bit(no_grad):
    inputs = draw(LONG, MANY)
    expected = plain(*inputs)
    with torch.set_grad_enabled(not no_grad):
        assert torch.equal(convolve(*inputs, training=no_grad), expected)
        target = torch.randn(100, requires_grad=True)
        out = gate(target, 2 * target, training=no_grad)
    assert torch.equal(out, target * torch.tanh(2 * target))


@pytest.mark.parametrize("kernel", [LONG, WIDE, SHORT, (1, 1)])
def test_transformed_functions_and_batches_of_none(kernel):
    x, weight, _ = (each.detach() for each in draw(kernel, FEW))
    each = torch.vmap(
        torch.func.grad(
            lambda w, x: convolve(x[None], w, None, True).square().sum()
        ),
        (None, 0),
    )(weight, x)
    weight.requires_grad_()
    convolve(x, weight, None, training=True).square().sum().backward()
    torch.testing.assert_close(each.sum(0), weight.grad, rtol=1e-3, atol=1e-2)
    assert convolve(x[:0], weight, None, training=True).shape[:2] == (0, 4)


def test_frozen_weights_and_inputs_get_no_gradient():
    for frozen in range(3):
        inputs = draw(WIDE, FEW)
        inputs[frozen].requires_grad_(False)
        convolve(*inputs, training=True).square().sum().backward()
        assert [i for i in range(3) if inputs[i].grad is None] == [frozen]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gate_has_the_gradients_of_tanh(dtype):
    torch.manual_seed(0)
    inputs = [torch.randn(50, dtype=dtype, requires_grad=True) for _ in "ab"]
    out, grads = gradients(lambda *i: gate(*i, training=True), inputs)
    expected, expected_grads = gradients(gate, inputs)
    assert type(out.grad_fn).__name__ == "_GateBackward"
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    tolerance = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(out, expected, **tolerance)
    torch.testing.assert_close(grads, expected_grads, **tolerance)


@pytest.mark.parametrize("silent", [False, True])
def test_frame_norm_has_the_gradients_of_its_formula(silent):
    torch.manual_seed(0)
    norm = FrameLayerNorm(4)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 4, 6, 9) + 1
    x[1] *= 0 if silent else 1
    inputs = [x.requires_grad_(), norm.weight, norm.bias]

    def formula(x, weight, bias):
        mean = x.mean((1, 3), keepdim=True)
        variance = (x - mean).square().mean((1, 3), keepdim=True)
        out = (x - mean) / torch.sqrt(variance + norm.eps)
        return out * weight[:, None, None] + bias[:, None, None]

    out, grads = gradients(lambda x, *_: norm(x), inputs)
    assert type(out.grad_fn).__name__ == "_FrameNormBackward"
    expected, expected_grads = gradients(formula, inputs)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-3, atol=1e-3)


def test_folded_channels_change_no_value():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 7)
    results = []
    for folded in (False, True):
        torch.manual_seed(1)
        unit = ConvNormAct(3, 4, (1, 1), folded=folded)
        inputs = [x.clone().requires_grad_(), *unit.parameters()]
        results.append(gradients(lambda x, *_, unit=unit: unit(x), inputs))
        assert results[-1][0].is_contiguous() == folded
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
