"""Batch norm and ReLU at once, in each library of kernels."""

import pytest
import torch
import torch.nn.functional as F

from phasen_sb.native import library
from phasen_sb.network import rectified_norm
from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.rectified_norm import RectifiedNorm, has_rectified_norm

KINDS = [kind for kind in library.KINDS if library.is_supported(kind)]
#: Batch, channels, frames and bins: of less than a vector, of several, odd.
SHAPES = [(2, 24, 30, 17), (1, 1, 3, 2), (3, 5, 9, 7), (1, 257, 2, 3)]


@pytest.fixture(params=KINDS, ids=[kind.title for kind in KINDS])
def kind(request, monkeypatch):
    monkeypatch.setattr(
        rectified_norm,
        "find_kind",
        lambda dtype: request.param if dtype == request.param.dtype else None,
    )
    return request.param


def draw(shape, dtype):
    """Activations, channels innermost, and the norm's scale and shift."""
    torch.manual_seed(0)
    batch, channels, frames, bins = shape
    # Means that are large beside the deviation, as those of loud inputs.
    x = torch.randn(batch, bins, frames, channels) + 30
    x = x.to(dtype).permute(0, 3, 2, 1).requires_grad_()
    weight, bias = torch.randn(2, channels)
    return x, weight.requires_grad_(), bias.requires_grad_()


def run(function, inputs, dtype):
    """The output and all gradients."""
    out = function(*inputs)
    torch.manual_seed(1)
    grad = torch.randn(out.shape).to(dtype).to(out.dtype)
    return out, *torch.autograd.grad(out, inputs, grad)


def compute_exactly(x, weight, bias):
    return F.relu(F.batch_norm(x, None, None, weight, bias, training=True))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_fp64(
    kind, shape, threads, monkeypatch
):
    monkeypatch.setattr(rectified_norm, "SHARE", 1)
    inputs = draw(shape, kind.dtype)
    exact_inputs = [x.detach().double().requires_grad_() for x in inputs]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = run(
            lambda *all: RectifiedNorm.apply(*all, 1e-5)[0], inputs, kind.dtype
        )
    finally:
        torch.set_num_threads(before)
    exact = run(compute_exactly, exact_inputs, kind.dtype)
    bounds = (1e-5, 1e-5) if kind.dtype == torch.float32 else (4e-3, 1e-5)
    # The output and the gradient of x are in the input's precision.
    for one, other, bound in zip(
        ours, exact, [bounds[0], bounds[0], bounds[1], bounds[1]], strict=True
    ):
        assert (one - other).abs().max() < bound * other.abs().max() + 1e-30


def test_norm_is_that_of_pytorch_for_any_layout_and_padding(kind):
    """Rectified or not, planar or not, with the same running statistics."""
    x = draw((2, 6, 20, 17), kind.dtype)[0].detach()
    sliced = x[:, :, 3:]  # not contiguous
    valid = (torch.arange(17) < torch.tensor([[17], [9]]))[:, None, :, None]
    for given, padding in (
        (x, None),
        (sliced, None),
        (sliced.contiguous(), None),
        (sliced, valid.float()),
    ):
        norms = BatchNorm(6), BatchNorm(6)
        outs = (
            norms[0](given.clone().requires_grad_(), padding, rectify=True),
            # Planar, as which PyTorch's is ten times as accurate.
            F.relu(norms[1](given.contiguous(), padding)),
        )
        tolerance = 2e-5 if kind.dtype == torch.float32 else 0.1
        torch.testing.assert_close(*outs, atol=tolerance, rtol=tolerance)
        for name in ("running_mean", "running_var"):
            torch.testing.assert_close(
                *(getattr(norm, name) for norm in norms), rtol=1e-4, atol=0
            )


def test_padded_batches_keep_their_layout_and_use_the_kernels(
    kind, monkeypatch
):
    called = []
    call = rectified_norm.call
    monkeypatch.setattr(
        rectified_norm,
        "call",
        lambda name, *rest: called.append(name) or call(name, *rest),
    )
    x = draw((2, 6, 20, 17), kind.dtype)[0]
    valid = (torch.arange(20) < torch.tensor([[20], [9]]))[:, None, :, None]
    out = BatchNorm(6)(x, valid.float(), rectify=True)
    assert out.stride() == x.stride()
    out.sum().backward()
    assert len(called) == 4
    called.clear()
    planar = x.detach().contiguous().requires_grad_()
    out = BatchNorm(6)(planar, valid.float(), rectify=True)
    assert out.is_contiguous() and not called


def test_kernels_compute_the_network_s_layout_alone(kind):
    x, weight, _ = draw((2, 4, 10, 17), kind.dtype)
    assert has_rectified_norm(x, weight)
    planar = x.contiguous()  # bins are innermost
    single = x[:1, :, :1, :1]  # has no variance
    for other in (planar, single, x.double()):
        assert not has_rectified_norm(other, weight)


def test_norm_may_be_in_the_precision_of_its_input(kind):
    """Its statistics are in that precision, too, as with PyTorch's norm."""
    x = draw((2, 4, 10, 17), kind.dtype)[0]
    norm = BatchNorm(4).to(kind.dtype)
    norm(x, rectify=True).sum().backward()
    assert norm.running_mean.dtype == norm.weight.grad.dtype == kind.dtype


def test_nan_spreads_and_silence_has_no_gradient(kind):
    x, weight, bias = draw((1, 4, 10, 17), kind.dtype)
    silent = torch.zeros_like(x).requires_grad_()
    out, _, _ = RectifiedNorm.apply(silent, weight, bias, 1e-5)
    out.float().sum().backward()
    assert out.isfinite().all() and not silent.grad.any()
    with torch.no_grad():
        x[0, 1, 2, 3] = float("nan")
    out, mean, _ = RectifiedNorm.apply(x, weight, bias, 1e-5)
    assert mean.isnan().tolist() == [False, True, False, False]
    assert out[:, 1].isnan().all() and out[:, 2:].isfinite().all()
