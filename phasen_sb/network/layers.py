"""Convolutions and dense layers in the network's layout and initialisation.

They reset to the initialisation they were built with, so that recipes which
call every ``reset_parameters`` keep it.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.convolution import convolve
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.memory_layout import swap_axes
from phasen_sb.signals.padding import clear_padded_frames


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
    causal : bool
        Whether the kernel ends at the frame that it computes, instead of
        being centred there.

    Raises
    ------
    ValueError
        If a kernel size is even.

    Example
    -------
    >>> conv = Conv2d(2, 4, (25, 1))
    >>> conv(torch.rand(1, 2, 10, 17)).shape
    torch.Size([1, 4, 10, 17])
    """

    initializer: Callable[[nn.Module], None] | None = None
    causal: bool = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        initializer: Callable[[nn.Module], None] | None = None,
        causal: bool = False,
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
        self.causal = causal
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Repeats the initialisation that the layer was built with."""
        super().reset_parameters()
        if self.initializer is not None:
            self.initializer(self)

    def forward(
        self, x: torch.Tensor, memory: FrameMemory | None = None
    ) -> torch.Tensor:
        """Maps ``[B, C_in, T, F]`` to ``[B, C_out, T, F]``.

        A causal layer that gets a ``memory`` continues its last step.
        """
        if self.causal and self.kernel_size[0] > 1:
            return self._convolve_past(x, memory)
        weight = swap_axes(self.weight)
        out = convolve(swap_axes(x), weight, self.bias, self.training)
        return swap_axes(out)

    def _convolve_past(self, x, memory):
        taps, bins = self.kernel_size
        weight = swap_axes(self.weight)
        # Compiled, frames are another axis: see swap_axes.
        if self.training and not torch.compiler.is_compiling():
            out = convolve(swap_axes(x), weight, self.bias, True, taps - 1)
            return swap_axes(out)
        if memory is None:
            x = F.pad(x, (0, 0, taps - 1, 0))
        else:
            x = memory.prepend(x, taps - 1, dim=2)
        padding = (0, bins // 2)
        if not torch.compiler.is_compiling():  # see swap_axes
            padding = padding[::-1]
        out = F.conv2d(swap_axes(x), weight, self.bias, padding=padding)
        return swap_axes(out)


class FrameConv(Conv2d):
    """Convolution over time alone, of thousands of channels.

    Products of matrices compute it faster than a convolution does: in bf16 on
    a CPU, the backward pass is forty times faster.

    Arguments
    ---------
    in_channels : int
        Input channels: all values of a frame.
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        Kernel as (time, 1), odd.
    causal : bool
        As in :class:`phasen_sb.network.layers.Conv2d`.

    Example
    -------
    >>> conv = FrameConv(1285, 24, (9, 1))
    >>> x = torch.rand(2, 1285, 50, 1)
    >>> expected = F.conv2d(x, conv.weight, conv.bias, padding=(4, 0))
    >>> torch.allclose(conv(x), expected, atol=1e-5)
    True
    """

    def forward(
        self, x: torch.Tensor, memory: FrameMemory | None = None
    ) -> torch.Tensor:
        """Maps ``[B, C_in, T, 1]`` to ``[B, C_out, T, 1]``."""
        outputs, _, taps, _ = self.weight.shape
        weight = self.weight.squeeze(3).permute(2, 0, 1).flatten(0, 1)
        # Squeezed, not indexed: that would make zeros for the gradient.
        shares = F.linear(x.squeeze(3).transpose(1, 2), weight)
        shares = shares.unflatten(2, (taps, outputs))
        # A tap of one frame sees the share that another frame contributes.
        if self.causal and memory is not None:
            shares = memory.prepend(shares, taps - 1, dim=1)
        else:
            future = 0 if self.causal else taps // 2
            past = taps - 1 - future
            shares = F.pad(shares, (0, 0, 0, 0, past, future))
        frames = x.shape[2]
        out = sum(shares[:, i : i + frames, i] for i in range(taps))
        out = out + self.bias.to(out.dtype)
        return out.transpose(1, 2).unsqueeze(3)


class JointConv(Conv2d):
    """1x1 convolution of two inputs as if their channels were concatenated.

    Neither they nor their gradients are copied for that.

    Arguments
    ---------
    in_channels : int
        Channels of both inputs together.
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        (1, 1)

    Example
    -------
    >>> conv = JointConv(6, 4, (1, 1))
    >>> one, other = torch.rand(2, 1, 3, 10, 17)
    >>> expected = F.conv2d(torch.cat([one, other], 1), conv.weight, conv.bias)
    >>> torch.allclose(conv((one, other)), expected, atol=1e-6)
    True
    """

    def forward(
        self,
        x: tuple[torch.Tensor, torch.Tensor],
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Maps two ``[B, C_in / 2, T, F]`` to ``[B, C_out, T, F]``."""
        halves = self.weight.chunk(2, dim=1)
        one, other = (
            swap_axes(convolve(swap_axes(part), half, bias, self.training))
            for part, half, bias in zip(
                x, halves, (None, self.bias), strict=True
            )
        )
        return one + other


class Linear(nn.Linear):
    """Dense layer with an initialisation of its own.

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
        """Repeats the initialisation that the layer was built with."""
        super().reset_parameters()
        if self.initializer is not None:
            self.initializer(self)


class ConvNormAct(nn.Module):
    """Convolution, batch norm and ReLU, as in the amplitude stream.

    Arguments
    ---------
    in_channels : int
        Input channels.
    out_channels : int
        Output channels.
    kernel_size : tuple of int
        Kernel as (time, frequency), both odd.
    conv : type
        The convolution's class.
    folded : bool
        Whether the few channels that come out are then folded into frames. In
        training on a CPU they lie in memory one after the other, for which
        PyTorch's batch norm is five times faster.
    causal : bool
        Whether the kernel ends at the frame that it computes, instead of
        being centred there.
    norm_initializer : callable, optional
        As of :class:`phasen_sb.network.batch_norm.BatchNorm`.

    Example
    -------
    >>> unit = ConvNormAct(2, 4, (5, 5))
    >>> unit(torch.rand(1, 2, 10, 17)).shape
    torch.Size([1, 4, 10, 17])
    """

    folded: bool = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sequence[int],
        conv: type[Conv2d] = Conv2d,
        folded: bool = False,
        causal: bool = False,
        norm_initializer: Callable[[nn.Module], None] | None = None,
    ):
        super().__init__()
        self.folded = folded
        self.conv = conv(in_channels, out_channels, kernel_size, causal=causal)
        self.norm = BatchNorm(out_channels, initializer=norm_initializer)

    def forward(
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Maps what the convolution takes to ``[B, C_out, T, F]``.

        Both are zero on padded frames, where ``valid`` (``[B, 1, T, 1]``) is.
        A causal unit that gets a ``memory`` continues its last step.
        """
        x = self.conv(x, memory)
        if self.training and self.folded and x.device.type == "cpu":
            x = x.contiguous()
        return clear_padded_frames(self.norm(x, valid, rectify=True), valid)
