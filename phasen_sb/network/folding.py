"""Batch norm as part of the convolution before it."""

import torch
from torch import nn

from phasen_sb.network.batch_norm import BatchNorm


def fold_batch_norm(
    conv: nn.Conv2d, norm: BatchNorm | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Computes the convolution that replaces a convolution and its norm.

    Arguments
    ---------
    conv : torch.nn.Conv2d
        The convolution.
    norm : BatchNorm or None
        The batch norm after it, with its running statistics.

    Returns
    -------
    weight : torch.Tensor
        Of the convolution's shape, fp32.
    bias : torch.Tensor
        ``[C_out]``, fp32.

    Example
    -------
    >>> conv, norm = nn.Conv2d(2, 4, 1), BatchNorm(4).eval()
    >>> weight, bias = fold_batch_norm(conv, norm)
    >>> x = torch.randn(1, 2, 5, 7)
    >>> folded = nn.functional.conv2d(x, weight, bias)
    >>> torch.allclose(folded, norm(conv(x)), atol=1e-6)
    True
    """
    weight, bias = conv.weight.detach().double(), conv.bias.detach().double()
    if norm is not None:
        scale = norm.weight.detach().double()
        scale = scale / (norm.running_var.double() + norm.eps).sqrt()
        weight = weight * scale[:, None, None, None]
        bias = (bias - norm.running_mean.double()) * scale
        bias = bias + norm.bias.detach().double()
    return weight.float(), bias.float()
