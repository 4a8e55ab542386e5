"""The order of activations ``[B, C, T, F]`` in memory: ``[B, F, T, C]``.

Convolutions are fastest with channels innermost, and up to four times faster
with time next to them than with the 257 bins, a prime. PyTorch's operators
recognise such a layout, ``channels_last``, by the order of the axes, so layers
call them on swapped axes.
"""

import torch


def swap_axes(x: torch.Tensor) -> torch.Tensor:
    """Swaps time and frequency, as a view: before and after an operator.

    Not while PyTorch compiles: it chooses layouts itself, and swapped axes
    only hide from it which of them correspond.

    Example
    -------
    >>> swap_axes(torch.rand(2, 3, 5, 17)).shape
    torch.Size([2, 3, 17, 5])
    """
    return x if torch.compiler.is_compiling() else x.transpose(2, 3)


def time_innermost(x: torch.Tensor) -> torch.Tensor:
    """Reorders ``[B, C, T, F]`` in memory, as the network's layers keep it.

    Shape and values stay.

    Example
    -------
    >>> time_innermost(torch.rand(2, 3, 5, 17)).permute(0, 3, 2, 1).stride()
    (255, 15, 3, 1)
    """
    x = swap_axes(x).contiguous(memory_format=torch.channels_last)
    return swap_axes(x)
