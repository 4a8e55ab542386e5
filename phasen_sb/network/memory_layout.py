"""How activations ``[B, C, T, F]`` lie in memory.

As ``[B, F, T, C]``: convolutions want channels innermost, and are up to four
times faster along an axis of any length, time, than along the 257 bins, a
prime. PyTorch's operators know such a layout, ``channels_last``, only of
tensors whose axes are in that order, so layers call them on swapped axes.
"""

import torch


def swap_axes(x: torch.Tensor) -> torch.Tensor:
    """Swaps time and frequency, in shape alone: before and after an operator.

    Not while PyTorch compiles: it lays tensors out itself, and swapped axes
    only hide from it which of them belong to one another.

    Example
    -------
    >>> swap_axes(torch.rand(2, 3, 5, 17)).shape
    torch.Size([2, 3, 17, 5])
    """
    return x if torch.compiler.is_compiling() else x.transpose(2, 3)


def time_innermost(x: torch.Tensor) -> torch.Tensor:
    """Lays ``[B, C, T, F]`` out in memory as the network's layers keep it.

    Shape and values stay.

    Example
    -------
    >>> time_innermost(torch.rand(2, 3, 5, 17)).permute(0, 3, 2, 1).stride()
    (255, 15, 3, 1)
    """
    x = swap_axes(x).contiguous(memory_format=torch.channels_last)
    return swap_axes(x)
