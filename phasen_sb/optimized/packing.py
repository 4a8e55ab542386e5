"""Packing: several frames beside each other in the channel axis.

A convolution over 24 channels fills one and a half of a CPU's vectors. With
two frames packed into one row of 48 channels it fills three: the kernel gets
half as long in time, works on rows, and computes the same numbers. Here
kernels are rewritten so, with the batch norm behind them folded in.

Activations are ``[F, T, C]``, which is ``[F, T / pack, pack * C]`` in memory,
too: each convolution packs as suits it, and nothing is copied.

Authors
 * The phasen_sb authors 2026
"""

from typing import NamedTuple

import torch
from torch import nn

from phasen_sb.norms import BatchNorm
from phasen_sb.optimized.convolution import FusedConv

#: Floats in the vector registers that packed channels shall fill.
VECTOR = 16


class PackedConv(NamedTuple):
    """A convolution on packed rows.

    ``conv`` maps ``[F, rows, pack * C_in]``; ``reach`` is the number of
    *frames* that it sees on either side of a row, a multiple of ``pack``.
    """

    conv: FusedConv
    pack: int
    reach: int

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.conv.out_channels // self.pack


def has_tiles(dtype: torch.dtype) -> bool:
    """Whether the CPU multiplies in tiles (AMX), not vectors."""
    return dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()


def choose_pack(channels: int, dtype: torch.dtype = torch.float32) -> int:
    """Frames to a row, so that ``channels`` fill whole vectors.

    A tile's edge is a vector long, but costs less when it is not full.

    Example
    -------
    >>> choose_pack(24), choose_pack(96)
    (2, 1)
    """
    if channels % VECTOR == 0 or (has_tiles(dtype) and channels > VECTOR):
        return 1
    return 2


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
    relu: bool = False,
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
    relu : bool
        Whether ReLU follows.

    Returns
    -------
    PackedConv

    Example
    -------
    >>> kernel = torch.randn(24, 24, 25, 1)
    >>> packed = pack_convolution(kernel, torch.zeros(24), 2)
    >>> packed.conv.in_channels, packed.reach
    (48, 12)
    """
    out_channels, in_channels, frames, bins = weight.shape
    half = frames // 2
    reach = -(-half // pack)
    packed = weight.new_zeros(
        pack, out_channels, pack, in_channels, bins, 2 * reach + 1
    )
    for to in range(pack):
        for tap in range(frames):
            row, of = divmod(to + tap - half, pack)
            packed[to, :, of, :, :, row + reach] = weight[:, :, tap]
    packed = packed.reshape(pack * out_channels, pack * in_channels, bins, -1)
    conv = FusedConv(packed.to(dtype), bias.repeat(pack).to(dtype), relu)
    return PackedConv(conv, pack, reach * pack)
