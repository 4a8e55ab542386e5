"""Convolutions by Winograd's filtering, in each library of kernels."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from phasen_sb.native import library
from phasen_sb.network import winograd_convolution
from phasen_sb.network.convolution import convolve
from phasen_sb.network.winograd_convolution import (
    KERNEL,
    WinogradConvolution,
    has_winograd,
)

KINDS = [
    kind
    for kind in library.KINDS
    if kind.dtype == torch.float32 and library.is_supported(kind)
]
#: Batch, channels in and out, bins and frames: odd, tiny, of several vectors.
SHAPES = [
    (2, 3, 4, 6, 7),
    (1, 1, 1, 1, 1),
    (2, 5, 17, 9, 61),
    (1, 26, 50, 5, 9),
]


@pytest.fixture(params=KINDS, ids=[kind.title for kind in KINDS])
def kind(request, monkeypatch):
    monkeypatch.setattr(
        winograd_convolution, "find_kind", lambda _: request.param
    )


def draw(shape):
    torch.manual_seed(0)
    batch, inputs, outputs, bins, frames = shape
    shapes = (batch, inputs, bins, frames), (outputs, inputs, *KERNEL)
    return [
        torch.randn(shape, requires_grad=True)
        for shape in (*shapes, (outputs,))
    ]


def run(function, inputs):
    """The output and all gradients."""
    out = function(*inputs)
    torch.manual_seed(1)
    grad = torch.randn(out.shape).to(out.dtype)
    return out, *torch.autograd.grad(out, inputs, grad)


def compute(x, weight, bias=None, past=2):
    return WinogradConvolution.apply(x, weight, bias, past)


def compute_exactly(x, weight, bias=None, past=2):
    """``past`` are frames that the kernel sees before the one it computes."""
    x = F.pad(x.double(), (past, KERNEL[1] - 1 - past))
    bias = None if bias is None else bias.double()
    return F.conv2d(x, weight.double(), bias, padding=(KERNEL[0] // 2, 0))


@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("threads, past", [(1, 2), (3, 2), (3, 4)])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_fp64(shape, threads, past):
    inputs = draw(shape)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours, again = (
            run(lambda *i: compute(*i, past=past), inputs) for _ in range(2)
        )
    finally:
        torch.set_num_threads(before)
    exactly = run(lambda *i: compute_exactly(*i, past=past), inputs)
    for one, other, exact in zip(ours, again, exactly, strict=True):
        assert torch.equal(one, other)
        assert (one - exact).abs().max() < 3e-5 * exact.abs().max()


@pytest.mark.usefixtures("kind")
def test_any_memory_layout_and_no_bias():
    x, weight, _ = draw((2, 3, 4, 6, 30))
    strided = x.detach()[..., ::2].transpose(2, 3).requires_grad_()
    ours = run(compute, (strided, weight))
    exact = run(compute_exactly, (strided, weight))
    torch.testing.assert_close(ours[0].double(), exact[0], rtol=0, atol=1e-3)
    for one, other in zip(ours[1:], exact[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.usefixtures("kind")
def test_training_chooses_it_in_fp32_where_there_are_kernels(monkeypatch):
    inputs = draw((1, 2, 3, 6, 40))

    def name():
        return type(convolve(*inputs, training=True).grad_fn).__name__

    assert name().startswith("WinogradConvolution")
    with torch.autocast("cpu", torch.bfloat16):
        assert name() == "ConvolutionBackward0"
    assert not has_winograd(inputs[0], inputs[1][..., :3])
    assert not has_winograd(*(each.double() for each in inputs[:2]))
    monkeypatch.setattr(winograd_convolution, "find_kind", lambda _: None)
    assert not name().startswith("Winograd")


@pytest.mark.usefixtures("kind")
def test_what_kernels_must_not_read_goes_to_pytorch():
    x, weight, bias = draw((1, 2, 3, 6, 7))
    with pytest.raises(RuntimeError, match="expected input.* 2 channels"):
        convolve(x[:, :1], weight, bias, training=True)
    with pytest.raises(RuntimeError, match="expected bias"):
        convolve(x, weight, bias[:2], training=True)
    with FakeTensorMode() as mode:
        fake = [mode.from_tensor(each) for each in (x, weight, bias)]
        assert not has_winograd(*fake)
        assert convolve(*fake, training=True).shape == (1, 3, 6, 7)


@pytest.mark.usefixtures("kind")
def test_only_what_is_trained_gets_gradients_and_only_once():
    for frozen in range(3):
        inputs = draw((1, 2, 3, 6, 7))
        inputs[frozen].requires_grad_(False)
        out = compute(*inputs)
        out.square().sum().backward()
        assert [i for i in range(3) if inputs[i].grad is None] == [frozen]
    inputs = draw((1, 2, 3, 6, 7))
    out = compute(*inputs).square().sum()
    (grad,) = torch.autograd.grad(out, inputs[1], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()
