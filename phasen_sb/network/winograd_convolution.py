"""5x5 convolutions and their gradients in fewer products, by compiled kernels.

Winograd's filtering along both axes (:mod:`phasen_sb.native.winograd`;
winograd_2d.hpp) takes a sixth of the products. It computes in fp32, with an
error that is some ten times that of a direct convolution.
"""

import math

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
    has_memory,
)
from phasen_sb.native.winograd import evaluation_matrix

#: The kernel (bins, frames) for which there is code, and where it is evaluated.
KERNEL = (5, 5)
POINTS = (8, 8)

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
        "past": INT,
        "threads": INT,
    },
)


def has_winograd(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> bool:
    """Tells whether :class:`WinogradConvolution` computes a convolution.

    Kernels read memory unchecked: shapes must fit.

    Example
    -------
    >>> has_winograd(torch.rand(1, 2, 17, 50), torch.rand(2, 2, 3, 3))
    False
    """
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return (
        tuple(weight.shape[1:]) == (x.shape[1], *KERNEL)
        and (bias is None or bias.shape == weight.shape[:1])
        and has_memory(*tensors)
        and all(each.dtype == torch.float32 for each in tensors)
        and find_kind(torch.float32) is not None
    )


class WinogradConvolution(torch.autograd.Function):
    """2-D convolution of 5x5 kernels that keeps the size, in fp32.

    Called as ``WinogradConvolution.apply(x, weight, bias, past)`` with ``[B,
    C_in, F, T]``, ``[C_out, C_in, 5, 5]``, ``[C_out]`` or None, and the number
    of frames that the kernel sees before the one that it computes, it returns
    what :func:`torch.nn.functional.conv2d` does, but for rounding. NaN spreads
    to neighbours. Gradients depend on the number of threads in rounding.

    Example
    -------
    >>> x, weight = torch.randn(2, 3, 17, 50), torch.randn(4, 3, 5, 5)
    >>> if has_winograd(x, weight):
    ...     out = WinogradConvolution.apply(x, weight, None, 2)
    ...     expected = torch.conv2d(x, weight, padding=2)
    ...     assert torch.allclose(out, expected, atol=1e-3)
    """

    @staticmethod
    def forward(ctx, x, weight, bias, past):
        rows = _to_rows(x)
        ctx.save_for_backward(rows, weight)
        ctx.past = past
        return _convolve(rows, weight, bias, past)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        rows, weight = ctx.saved_tensors
        grad = _to_rows(grad)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            flipped = weight.flip(2, 3).transpose(0, 1)
            future = KERNEL[1] - 1 - ctx.past
            of_x = _convolve(grad, flipped, None, future)
        if any(ctx.needs_input_grad[1:]):
            of_weight, of_bias = _differentiate(rows, grad, ctx.past)
        wanted = zip(
            ctx.needs_input_grad, (of_x, of_weight, of_bias, None), strict=True
        )
        return tuple(each if needed else None for needed, each in wanted)


def _to_rows(x):
    """``[B, C, F, T]`` to ``[B, F, T, C]``, contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _convolve(x, weight, bias, past):
    """Maps ``[B, F, T, C_in]`` to ``[B, C_out, F, T]``."""
    out = x.new_empty(*x.shape[:3], weight.shape[0])
    matrix = evaluation_matrix(KERNEL[0])
    values = torch.einsum(
        "oiab,pa,qb->pqio", weight.detach().double(), matrix, matrix
    )
    values = _pad(values.flatten(0, 1).float())
    if bias is None:
        bias = x.new_zeros(weight.shape[0])
    _call("phasen_filter", x, out, values, _pad(bias.detach()), past)
    return out.permute(0, 3, 1, 2)


def _differentiate(x, grad, past):
    """The gradients of weight and bias, of ``[B, F, T, C]``."""
    inputs, outputs = x.shape[3], grad.shape[3]
    size = (
        torch.get_num_threads(),
        math.prod(POINTS),
        inputs + -inputs % LINE,
        outputs + -outputs % LINE,
    )
    of_values, of_bias = x.new_zeros(size), x.new_zeros(size[0], size[3])
    _call("phasen_differentiate", x, grad, of_values, of_bias, past)
    of_values = of_values.sum(0)[:, :inputs, :outputs].unflatten(0, POINTS)
    matrix = evaluation_matrix(KERNEL[0])
    of_weight = torch.einsum(
        "pqio,pa,qb->oiab", of_values.double(), matrix, matrix
    )
    return of_weight.float(), of_bias.sum(0)[:outputs]


def _pad(x):
    """Pads the last axis to a multiple of what a line holds."""
    return F.pad(x, (0, -x.shape[-1] % LINE)).contiguous()


def _call(name, x, y, values, bias, past):
    arguments = _Filtering(
        *(each.data_ptr() for each in (x, y, values, bias)),
        *x.shape,
        y.shape[3],
        past,
        torch.get_num_threads(),
    )
    call(name, find_kind(torch.float32), arguments)
