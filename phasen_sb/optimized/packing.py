"""Packing: several frames beside each other in the channel axis.

A convolution over 24 channels fills one and a half of a CPU's vectors. With
two frames packed into one row of 48 channels it fills three: the kernel gets
half as long in time, works on rows, and computes the same numbers. Here
kernels are rewritten so, with the batch norm behind them folded in.

Activations are ``[rows, F, pack * C]``: row r holds, for each bin, the
channels of the frames ``r * pack`` to ``r * pack + pack - 1``.

Authors
 * The phasen_sb authors 2026
"""

from typing import NamedTuple

import torch
from torch import nn

from phasen_sb.norms import BatchNorm

#: Floats in the vector registers that packed channels shall fill.
VECTOR = 16


class PackedConv(NamedTuple):
    """A convolution on packed rows.

    ``weight`` is ``[pack * C_out, pack * C_in, rows, bins]``, ``bias``
    ``[pack * C_out]``; ``reach`` is the number of rows that it sees on either
    side of its own.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    reach: int


def choose_pack(channels: int) -> int:
    """Frames to a row, so that ``channels`` fill whole vectors.

    Example
    -------
    >>> choose_pack(24), choose_pack(96)
    (2, 1)
    """
    return 1 if channels % VECTOR == 0 else 2


def rows_for(frames: int, pack: int) -> int:
    """Rows that hold a number of frames.

    Example
    -------
    >>> rows_for(5, 2)
    3
    """
    return -(-frames // pack)


def fold_batch_norm(
    conv: nn.Conv2d, norm: BatchNorm | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One convolution's weight and bias in place of convolution and norm.

    Arguments
    ---------
    conv : torch.nn.Conv2d
        The convolution.
    norm : BatchNorm or None
        The batch norm behind it, with its running statistics.

    Returns
    -------
    weight : torch.Tensor
        As the convolution's, fp32.
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


def pack_convolution(
    weight: torch.Tensor,
    bias: torch.Tensor,
    pack: int,
    dtype: torch.dtype = torch.float32,
) -> PackedConv:
    """Rewrites a kernel for packed rows.

    Arguments
    ---------
    weight : torch.Tensor
        ``[C_out, C_in, frames, bins]``, both sizes odd.
    bias : torch.Tensor
        ``[C_out]``
    pack : int
        Frames to a row.
    dtype : torch.dtype
        Of the result.

    Returns
    -------
    PackedConv

    Example
    -------
    >>> kernel = torch.randn(24, 24, 25, 1)
    >>> packed = pack_convolution(kernel, torch.zeros(24), 2)
    >>> packed.weight.shape, packed.reach
    (torch.Size([48, 48, 13, 1]), 6)
    """
    out_channels, in_channels, frames, bins = weight.shape
    half = frames // 2
    reach = rows_for(half, pack)
    packed = weight.new_zeros(
        pack, out_channels, pack, in_channels, 2 * reach + 1, bins
    )
    for to in range(pack):
        for tap in range(frames):
            row, of = divmod(to + tap - half, pack)
            packed[to, :, of, :, row + reach] = weight[:, :, tap]
    packed = packed.reshape(pack * out_channels, pack * in_channels, -1, bins)
    return PackedConv(
        packed.to(dtype).contiguous(memory_format=torch.channels_last),
        bias.repeat(pack).to(dtype),
        reach,
    )


def pack_frames(x: torch.Tensor, pack: int) -> torch.Tensor:
    """Packs ``[T, F, C]`` to ``[rows, F, pack * C]``, zeros at the end.

    Example
    -------
    >>> pack_frames(torch.rand(5, 257, 2), 2).shape
    torch.Size([3, 257, 4])
    """
    frames, bins, channels = x.shape
    rows = rows_for(frames, pack)
    x = nn.functional.pad(x, (0, 0, 0, 0, 0, rows * pack - frames))
    x = x.view(rows, pack, bins, channels).transpose(1, 2)
    return x.reshape(rows, bins, pack * channels)


def unpack_frames(x: torch.Tensor, pack: int) -> torch.Tensor:
    """Undoes :func:`pack_frames`: ``[rows * pack, F, C]``.

    Example
    -------
    >>> x = torch.rand(6, 257, 2)
    >>> torch.equal(unpack_frames(pack_frames(x, 2), 2), x)
    True
    """
    rows, bins, _ = x.shape
    return x.view(rows, bins, pack, -1).transpose(1, 2).flatten(0, 1)
