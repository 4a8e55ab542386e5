"""Batch norm and ReLU at once in training on a CPU, by compiled kernels.

Memory limits their speed: forth and back, PyTorch's operators read and write
activations fourteen times, these eight times (rectified_norm.hpp).
"""

import torch
from torch.autograd.function import once_differentiable

from phasen_sb.native.library import (
    INT,
    POINTER,
    call,
    declare_structure,
    find_kind,
    has_memory,
)

#: Values that are worth a thread.
SHARE = 2**16

_RectifiedNorm = declare_structure(
    "_RectifiedNorm",
    {
        "x": POINTER,
        "grad": POINTER,
        "y": POINTER,
        "rows": INT,
        "channels": INT,
        "threads": INT,
        "scale": POINTER,
        "shift": POINTER,
        "mean": POINTER,
        "slope": POINTER,
        "constant": POINTER,
    },
)


def has_rectified_norm(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Tells whether :class:`RectifiedNorm` computes ``[B, C, T, F]``.

    It does if there are kernels for its precision, its channels are innermost
    in memory, and the norm is in fp32.

    Example
    -------
    >>> has_rectified_norm(torch.rand(2, 4, 10, 17).double(), torch.ones(4))
    False
    """
    return (
        has_memory(x, weight)
        and weight.dtype == torch.float32
        and x.numel() > x.shape[1]  # a single value has no variance
        and x.stride(1) == 1
        and find_kind(x.dtype) is not None
    )


class RectifiedNorm(torch.autograd.Function):
    """ReLU of a batch norm of ``[B, C, T, F]``, with the batch's statistics.

    Called as ``RectifiedNorm.apply(x, weight, bias, eps)``, with ``[C]`` in
    fp32, it returns the output and the ``[C]`` mean and variance of the batch,
    the latter with Bessel's correction and both without gradients.

    Example
    -------
    >>> x = torch.rand(2, 17, 10, 4).transpose(1, 3)
    >>> if has_rectified_norm(x, torch.ones(4)):
    ...     out, _, _ = RectifiedNorm.apply(x, *torch.ones(2, 4), 1e-5)
    ...     assert (out >= 0).all()
    """

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        x = _make_dense(x)
        channels = x.shape[1]
        moments = x.new_zeros(channels, 3, dtype=torch.float64)
        _call("phasen_find_moments", x, result=moments)
        count, mean, squares = moments.unbind(1)
        deviation = (squares / count + eps).rsqrt()
        scale = weight.double() * deviation
        shift = (bias - mean * scale).float()
        mean, scale = mean.float(), scale.float()
        out = torch.empty_like(x)
        _call("phasen_rectify", x, y=out, scale=scale, shift=shift)
        ctx.save_for_backward(x, mean, scale, shift, deviation)
        variance = (squares / (count - 1)).float()
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, *_):
        x, mean, scale, shift, deviation = ctx.saved_tensors
        grad = _make_dense(grad)
        channels = x.shape[1]
        sums = x.new_zeros(2, channels, dtype=torch.float64)
        given = {"grad": grad, "scale": scale, "shift": shift, "mean": mean}
        _call("phasen_sum_up_gradients", x, result=sums, **given)
        total, product = sums
        count = x.numel() // channels
        slope = -scale * deviation.square() * product / count
        constant = -scale * total / count
        out = torch.empty_like(x)
        _call(
            "phasen_differentiate_norm",
            x,
            y=out,
            slope=slope.float(),
            constant=constant.float(),
            **given,
        )
        of_weight = (product * deviation).float()
        return out, of_weight, total.float(), None


def _make_dense(x):
    """Copies ``[B, C, T, F]``, if need be, to ``[B, F, T, C]`` in memory."""
    return x.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)


def _call(name, x, result=None, **tensors):
    arguments = _RectifiedNorm(
        x=x.data_ptr(),
        rows=x.numel() // x.shape[1],
        channels=x.shape[1],
        threads=min(torch.get_num_threads(), 1 + x.numel() // SHARE),
        **{key: each.data_ptr() for key, each in tensors.items()},
    )
    further = () if result is None else (result.data_ptr(),)
    call(name, find_kind(x.dtype), arguments, *further)
