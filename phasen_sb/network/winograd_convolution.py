"""Convolutions and their gradients in fewer products, by compiled kernels.

Winograd's filtering along two axes (:mod:`phasen_sb.native.winograd`;
winograd_2d.hpp) takes a sixth of the products of a kernel of 5 x 5, and a fifth
of those of a kernel of 25 frames, whose taps are laid out along two axes. It
computes in fp32, as exactly as a direct convolution to within about two bits.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from phasen_sb.native.library import (
    INT,
    LINE,
    POINTER,
    call,
    declare_structure,
    find_kind,
)
from phasen_sb.native.winograd import evaluation_matrix

#: Kernels (bins, frames) for which there is code.
SQUARE, LONG = (5, 5), (1, 25)

_Filtering = declare_structure(
    "_Filtering",
    {
        "x": POINTER,
        "y": POINTER,
        "weight": POINTER,
        "bias": POINTER,
        "batch": INT,
        "bins": INT,
        "frames": INT,
        "inputs": INT,
        "outputs": INT,
        "spans_bins": INT,
        "threads": INT,
    },
)


def has_winograd(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Tells whether :class:`WinogradConvolution` computes a convolution.

    Example
    -------
    >>> has_winograd(torch.rand(1, 2, 17, 50), torch.rand(2, 2, 3, 3))
    False
    """
    return (
        tuple(weight.shape[2:]) in (SQUARE, LONG)
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and find_kind(torch.float32) is not None
    )


class WinogradConvolution(torch.autograd.Function):
    """2-D convolution that keeps the size, in fp32, of kernels that span 5 x 5
    or 25 frames.

    Called as ``WinogradConvolution.apply(x, weight, bias)`` with ``[B, C_in, F,
    T]``, ``[C_out, C_in, height, width]`` and ``[C_out]`` or None, it returns
    what :func:`torch.nn.functional.conv2d` does, but for rounding. NaN spreads
    to neighbours. Gradients depend on the number of threads in rounding.

    Example
    -------
    >>> x, weight = torch.randn(2, 3, 17, 50), torch.randn(4, 3, 5, 5)
    >>> if has_winograd(x, weight):
    ...     out = WinogradConvolution.apply(x, weight, None)
    ...     expected = torch.conv2d(x, weight, padding=2)
    ...     assert torch.allclose(out, expected, atol=1e-3)
    """

    @staticmethod
    def forward(ctx, x, weight, bias):
        rows = _to_rows(x)
        ctx.save_for_backward(rows, weight)
        return _convolve(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rows, weight = ctx.saved_tensors
        grad = _to_rows(grad)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x = _convolve(grad, weight.flip(2, 3).transpose(0, 1), None)
        if any(ctx.needs_input_grad[1:]):
            of_weight, of_bias = _differentiate(rows, grad, weight)
        wanted = zip(
            ctx.needs_input_grad, (of_x, of_weight, of_bias), strict=True
        )
        return tuple(each if needed else None for needed, each in wanted)


def _to_rows(x):
    """``[B, C, F, T]`` to ``[B, F, T, C]``, contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _convolve(x, weight, bias):
    """Maps ``[B, F, T, C_in]`` to ``[B, C_out, F, T]``."""
    out = x.new_empty(*x.shape[:3], weight.shape[0])
    values = torch.einsum("oiab,pa,qb->pqio", *_spread(weight)).flatten(0, 1)
    values = _pad(values.float())
    if bias is None:
        bias = x.new_zeros(weight.shape[0])
    _call("phasen_filter", x, out, values, _pad(bias.detach()), weight)
    return out.permute(0, 3, 1, 2)


def _differentiate(x, grad, weight):
    """The gradients of weight and bias, of ``[B, F, T, C]``."""
    outputs, inputs = weight.shape[:2]
    threads = torch.get_num_threads()
    of_bias = x.new_zeros(threads, outputs + -outputs % LINE)
    size = threads, 64, inputs + -inputs % LINE, of_bias.shape[1]
    of_values = x.new_zeros(size)
    _call("phasen_differentiate", x, grad, of_values, of_bias, weight)
    of_values = of_values.sum(0)[:, :inputs, :outputs].unflatten(0, (8, 8))
    _, outer, inner = _spread(weight)
    of_weight = torch.einsum(
        "pqio,pa,qb->oiab", of_values.double(), outer, inner
    )
    if tuple(weight.shape[2:]) == LONG:
        taps = of_weight[..., :4].flatten(2), of_weight[..., -1, 4:]
        of_weight = torch.cat(taps, 2).unsqueeze(2)
    return of_weight.float(), of_bias.sum(0)[:outputs]


def _spread(weight):
    """A kernel along two axes, and the matrices that evaluate it."""
    weight = weight.detach().double()
    if tuple(weight.shape[2:]) == LONG:
        # Tap 4 a + b at (a, b). Only the last one has b = 4.
        *_, taps = weight.shape
        spread = weight.new_zeros(*weight.shape[:2], 6, 5)
        spread[..., :4] = weight[:, :, 0, : taps - 1].unflatten(2, (6, 4))
        spread[..., 5, 4] = weight[:, :, 0, taps - 1]
        weight = spread
    return (weight, *(evaluation_matrix(taps) for taps in weight.shape[2:]))


def _pad(x):
    """Pads the last axis to a multiple of what a line holds."""
    return F.pad(x, (0, -x.shape[-1] % LINE)).contiguous()


def _call(name, x, y, values, bias, weight):
    arguments = _Filtering(
        *(each.data_ptr() for each in (x, y, values, bias)),
        *x.shape,
        y.shape[3],
        tuple(weight.shape[2:]) == SQUARE,
        torch.get_num_threads(),
    )
    call(name, find_kind(torch.float32), arguments)
