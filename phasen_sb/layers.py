"""Layers that keep padding out of an utterance.

Given a frame mask (`phasen_sb.masks`) their output is zero on padded frames.
They reset to the initialisation they were built with, so that recipes which
call every ``reset_parameters`` keep it.

Authors
 * The phasen_sb authors 2026
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.masks import apply_mask
from phasen_sb.norms import BatchNorm


class Conv2d(nn.Conv2d):
    """2-D convolution over (time, frequency) that keeps the size.

    Arguments
    ---------
    in_channels : int
        Input channels.
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        Kernel as (time, frequency), both odd.
    initializer : callable, optional
        Called with the layer after PyTorch's own initialisation, at each
        reset.

    Example
    -------
    >>> conv = Conv2d(2, 4, (25, 1))
    >>> conv(torch.rand(1, 2, 10, 17)).shape
    torch.Size([1, 4, 10, 17])
    """

    initializer: Callable[[nn.Module], None] | None = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        initializer: Callable[[nn.Module], None] | None = None,
    ):
        kernel_size = tuple(kernel_size)
        if any(size % 2 == 0 for size in kernel_size):
            raise ValueError(f"Kernel sizes must be odd, got {kernel_size}.")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            padding=tuple(size // 2 for size in kernel_size),
        )
        self.initializer = initializer
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redoes the initialisation the layer was built with."""
        super().reset_parameters()
        if self.initializer is not None:
            self.initializer(self)


class Linear(nn.Linear):
    """Dense layer that resets to the initialisation it was built with.

    Arguments
    ---------
    in_features : int
        Input size.
    out_features : int
        Output size.
    bias : bool
        Whether to add a bias.
    initializer : callable, optional
        Called with the layer after PyTorch's own initialisation, at each
        reset.

    Example
    -------
    >>> Linear(3, 5, initializer=lambda m: nn.init.zeros_(m.bias)).bias.sum()
    tensor(0., grad_fn=<SumBackward0>)
    """

    initializer: Callable[[nn.Module], None] | None = None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        initializer: Callable[[nn.Module], None] | None = None,
    ):
        super().__init__(in_features, out_features, bias)
        self.initializer = initializer
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redoes the initialisation the layer was built with."""
        super().reset_parameters()
        if self.initializer is not None:
            self.initializer(self)


class ConvNormAct(nn.Module):
    """Convolution, batch norm and ReLU: the amplitude stream's unit.

    Arguments
    ---------
    in_channels : int
        Input channels.
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        Kernel as (time, frequency).

    Example
    -------
    >>> unit = ConvNormAct(2, 4, (5, 5))
    >>> unit(torch.rand(1, 2, 10, 17)).shape
    torch.Size([1, 4, 10, 17])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Sequence[int]
    ):
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel_size)
        self.norm = BatchNorm(out_channels)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Maps ``[B, C_in, T, F]`` to ``[B, C_out, T, F]``."""
        return apply_mask(F.relu(self.norm(self.conv(x), mask)), mask)
