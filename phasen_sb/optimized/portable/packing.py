"""Packing: adjacent frames become channels of one row.

A convolution over 24 channels fills one and a half of a CPU's vectors. With
two frames packed into one row of 48 channels it fills three: the kernel is
half as long in time, works on rows, and computes the same numbers.

In memory, activations ``[F, T, C]`` are ``[F, T / pack, pack * C]``, too: each
convolution packs as suits it, and nothing is copied.
"""

import torch

#: The most frames in a row. Tiles are multiples of it.
PACKED = 4
#: Floats in a vector register, which packed channels should fill.
VECTOR = 16


def has_tiles(dtype: torch.dtype) -> bool:
    """Whether the CPU multiplies tiles (AMX) instead of vectors."""
    return dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()


def choose_pack(channels: int, dtype: torch.dtype = torch.float32) -> int:
    """Chooses the frames of a row, so that ``channels`` fill whole vectors.

    An AMX tile is as wide as a vector, but costs less when it is not full.

    Example
    -------
    >>> choose_pack(24), choose_pack(96)
    (2, 1)
    """
    if channels % VECTOR == 0 or (has_tiles(dtype) and channels > VECTOR):
        return 1
    return 2


def pack_kernel(weight: torch.Tensor, pack: int) -> tuple[torch.Tensor, int]:
    """Rewrites a kernel for packed rows.

    Arguments
    ---------
    weight : torch.Tensor
        ``[C_out, C_in, frames, bins]``, both sizes odd.
    pack : int
        Frames in a row.

    Returns
    -------
    packed : torch.Tensor
        ``[pack * C_out, pack * C_in, bins, rows]``
    reach : int
        Frames that it sees on either side of a row, a multiple of ``pack``.

    Example
    -------
    >>> packed, reach = pack_kernel(torch.randn(24, 24, 25, 1), 2)
    >>> packed.shape, reach
    (torch.Size([48, 48, 1, 13]), 12)
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
    return packed, reach * pack
