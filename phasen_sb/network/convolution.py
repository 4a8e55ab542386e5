"""2-D convolution that keeps the size, with fast gradients on CPUs.

PyTorch computes convolutions and the gradients of their inputs at the speed of
the processor, but not all gradients of kernels. Those of kernels that are
longer than 14 along the innermost axis are computed at a fifth of that speed,
and on CPUs without AVX-512 those of any kernel at half of it where that axis is
long. In the network's memory layout it is time, along which kernels span up to
25 frames. In fp32 spectra are used for long kernels; otherwise time and
frequency exchange their places in memory before the gradient is computed, and
long inputs are cut into pieces. The copies cost a tenth of what that saves.

In fp32, 5x5 kernels take fewer products where there are compiled kernels, and
convolutions of single frames and bins are passed on as many small examples, for
which PyTorch chooses oneDNN.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from phasen_sb.network.spectral_convolution import SpectralConvolution
from phasen_sb.network.winograd_convolution import (
    WinogradConvolution,
    has_winograd,
)

#: The longest kernel along the innermost axis that has fast gradients.
LONGEST = 14
#: Length of the pieces into which that axis is cut without AVX-512.
PIECE = 64
#: Precisions in which spectra of long kernels are faster.
SPECTRAL = (torch.float32, torch.float64)


def has_own_backward(*inputs: torch.Tensor) -> bool:
    """Tells whether a backward pass that is written for CPUs is to be used.

    It is if gradients are asked for, on a CPU, unless PyTorch compiles or
    transforms functions (``torch.func``).

    Example
    -------
    >>> x = torch.rand(2)
    >>> has_own_backward(x), has_own_backward(x, x.clone().requires_grad_())
    (False, True)
    """
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and all(x.device.type == "cpu" for x in inputs)
        and any(x.requires_grad for x in inputs)
    )


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    training: bool = False,
    past: int | None = None,
) -> torch.Tensor:
    """Computes a 2-D convolution that keeps the size.

    Results are those of :func:`torch.nn.functional.conv2d`. In training they
    may differ in rounding, as gradients do.

    Arguments
    ---------
    x : torch.Tensor
        ``[B, C_in, F, T]``
    weight : torch.Tensor
        ``[C_out, C_in, height, width]``, both sizes odd.
    bias : torch.Tensor or None
        ``[C_out]``
    training : bool
        Whether gradients, if there are any, are to be computed fast.
    past : int, optional
        Frames that the kernel sees before the one that it computes, at least
        half of the others, which is the default.

    Returns
    -------
    torch.Tensor
        ``[B, C_out, F, T]``

    Example
    -------
    >>> weight = torch.randn(4, 3, 1, 25, requires_grad=True)
    >>> convolve(torch.randn(2, 3, 17, 50), weight, None, True).shape
    torch.Size([2, 4, 17, 50])
    """
    padding = [size // 2 for size in weight.shape[2:]]
    if past is None:
        past = padding[1]
    if not (training and x.numel() and has_own_backward(x, weight)):
        if past > padding[1]:
            return _convolve_shifted(x, weight, bias, training, past)
        return F.conv2d(x, weight, bias, padding=padding)
    if torch.is_autocast_enabled("cpu"):
        # Outside of the function, so that autograd converts gradients back.
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    if weight[0, 0].numel() == 1 and x.dtype in SPECTRAL:
        # PyTorch calls oneDNN for 16 examples or more: twice as fast.
        rows = x.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        out = _Convolution.apply(rows, weight, bias, _differentiate_kernel)
        return (
            out.squeeze(2)
            .unflatten(0, (x.shape[0], x.shape[2]))
            .transpose(1, 2)
        )
    if has_winograd(x, weight, bias):
        return WinogradConvolution.apply(x, weight, bias, past)
    width = weight.shape[3]
    spectral = x.dtype in SPECTRAL and torch.backends.mkl.is_available()
    if width > LONGEST and spectral:
        return SpectralConvolution.apply(x, weight, bias, past)
    if past > padding[1]:
        return _convolve_shifted(x, weight, bias, training, past)
    if width > LONGEST:
        return _Convolution.apply(x, weight, bias, _exchange)
    if 1 < width and 2 * PIECE < x.shape[3] and _lacks_avx512(x.dtype):
        return _Convolution.apply(x, weight, bias, _cut)
    return F.conv2d(x, weight, bias, padding=padding)


def _convolve_shifted(x, weight, bias, training, past):
    """As by a centred kernel on later frames."""
    later = F.pad(x, (past - weight.shape[3] // 2, 0))
    return convolve(later, weight, bias, training)[..., : x.shape[3]]


def _lacks_avx512(dtype):
    capability = torch.backends.cpu.get_cpu_capability()
    return dtype == torch.float32 and capability == "AVX2"


class _Convolution(torch.autograd.Function):
    """PyTorch's convolution; a given function computes the kernel's gradient.

    It maps the gradient of what comes out, the input, the kernel and its
    padding to the gradient of the kernel.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, differentiate):
        ctx.save_for_backward(x, weight)
        ctx.padding = [size // 2 for size in weight.shape[2:]]
        ctx.differentiate = differentiate
        return F.conv2d(x, weight, bias, padding=ctx.padding)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_x, _ = _differentiate(
                grad, x, weight, ctx.padding, [True, False]
            )
        if ctx.needs_input_grad[1]:
            of_weight = ctx.differentiate(grad, x, weight, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = grad.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


def _differentiate_kernel(grad, x, weight, padding):
    return _differentiate(grad, x, weight, padding, [False, True])[1]


def _exchange(grad, x, weight, padding):
    """The kernel's gradient where height and width exchange their places."""
    grad, x = (
        each.transpose(2, 3).contiguous(memory_format=torch.channels_last)
        for each in (grad, x)
    )
    weight = weight.transpose(2, 3)
    _, out = _differentiate(grad, x, weight, padding[::-1], [False, True])
    return out.transpose(2, 3)


def _cut(grad, x, weight, padding):
    """The kernel's gradient as a sum over pieces of the width."""
    height, width = padding
    x = F.pad(x, (width, width))
    out = torch.zeros_like(weight)
    for start in range(0, grad.shape[3], PIECE):
        piece = grad[..., start : start + PIECE]
        seen = x[..., start : start + piece.shape[3] + 2 * width]
        piece, seen = (
            each.contiguous(memory_format=torch.channels_last)
            for each in (piece, seen)
        )
        out += _differentiate(piece, seen, weight, [height, 0], [False, True])[
            1
        ]
    return out


def _differentiate(grad, x, weight, padding, wanted):
    """The gradients of input and kernel, those that are wanted."""
    stride, dilation, group = [1, 1], [1, 1], 1
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        *(grad, x, weight, None, stride, padding, dilation),
        *(False, [0, 0], group, [*wanted, False]),
    )
    return of_x, of_weight
