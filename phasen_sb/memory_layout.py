"""How activations ``[B, C, T, F]`` lie in memory.

Authors
 * The phasen_sb authors 2026
"""

import torch


def time_innermost(x: torch.Tensor) -> torch.Tensor:
    """Lays ``[B, C, T, F]`` out in memory as the network's layers keep it.

    As ``[B, F, T, C]``: convolutions want channels innermost, and are up to
    four times faster along an axis of any length, time, than along the 257
    bins, a prime. Shape and values stay.

    Example
    -------
    >>> time_innermost(torch.rand(2, 3, 5, 17)).permute(0, 3, 2, 1).stride()
    (255, 15, 3, 1)
    """
    x = x.transpose(2, 3).contiguous(memory_format=torch.channels_last)
    return x.transpose(2, 3)
