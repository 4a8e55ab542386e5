"""Layers that keep padding out of an utterance.

Inside the network every activation is ``[B, C, T, F]`` (batch, channel,
frame, frequency bin) and is zero on the frames past an utterance's end. The
layers here keep it so: given a frame mask, their statistics leave the padded
frames out and their output is zero there. A convolution then sees past the
end of a padded utterance exactly what it sees past the end of a lone one.

Layers reset to the initialisation they were built with, so that recipes
which call every ``reset_parameters`` keep it.

Authors
 * The phasen_sb authors 2026
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn


def frame_mask(
    lengths: torch.Tensor | None, frames: int
) -> torch.Tensor | None:
    """Marks the frames that belong to each utterance.

    Arguments
    ---------
    lengths : torch.Tensor or None
        Relative lengths in (0, 1], ``[B]``; None: no padding anywhere.
    frames : int
        Number of frames of the padded batch, T.

    Returns
    -------
    torch.Tensor or None
        Float mask ``[B, 1, T, 1]``, one on valid frames, of which every
        utterance has at least one; None if ``lengths`` is None.

    Example
    -------
    >>> frame_mask(torch.tensor([1.0, 0.5]), 4).squeeze()
    tensor([[1., 1., 1., 1.],
            [1., 1., 0., 0.]])
    """
    if lengths is None:
        return None
    # Relative lengths are float quotients: only rounding gives the count back.
    count = torch.round(lengths * frames).clamp(min=1)
    index = torch.arange(frames, device=lengths.device)
    return (index < count.unsqueeze(1)).float()[:, None, :, None]


def apply_mask(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Zeroes the padded frames of ``x`` (``[B, C, T, F]``); None: no-op."""
    return x if mask is None else x * mask.to(x.dtype)


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


class BatchNorm(nn.Module):
    """Batch normalisation whose statistics leave padded frames out.

    In training mode the statistics are those of all *valid* frames of the
    batch, as if the utterances were laid end to end: padding has no
    influence, the other utterances of the batch do, as in any batch norm. In
    evaluation mode the running statistics are used and every utterance comes
    out as it does alone.

    It is no ``torch.nn.BatchNorm2d`` on purpose: SpeechBrain turns those into
    ``SyncBatchNorm`` under DDP, which refuses CPU tensors and knows no mask.
    Under DDP each process normalises its own batch.

    Arguments
    ---------
    num_features : int
        Channels, C.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running statistics.

    Example
    -------
    >>> norm = BatchNorm(4)
    >>> norm(torch.rand(2, 4, 10, 17)).shape
    torch.Size([2, 4, 10, 17])
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1
    ):
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.empty(num_features))
        self.bias = nn.Parameter(torch.empty(num_features))
        self.register_buffer("running_mean", torch.empty(num_features))
        self.register_buffer("running_var", torch.empty(num_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets scale one, shift zero and standard running statistics."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        self.running_mean.zero_()
        self.running_var.fill_(1.0)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``.

        Arguments
        ---------
        x : torch.Tensor
            Activations ``[B, C, T, F]``.
        mask : torch.Tensor, optional
            Frame mask ``[B, 1, T, 1]``, see :func:`frame_mask`.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``; padded frames hold no meaning.
        """
        if mask is None or not self.training:
            return self._normalize(x)
        # One row per valid frame: PyTorch's own kernel then does the rest.
        valid = mask[:, 0, :, 0].bool()
        frames = self._normalize(x.transpose(1, 2)[valid])  # [N, C, F]
        out = x.new_zeros(x.shape[0], x.shape[2], x.shape[1], x.shape[3])
        out = out.to(frames.dtype)
        return out.index_put((valid,), frames).transpose(1, 2)

    def _normalize(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises ``[N, C, ...]``, of which every value counts.

        Arguments
        ---------
        x : torch.Tensor
            Activations, channels second.

        Returns
        -------
        torch.Tensor
            As ``x``; training mode updates the running statistics.
        """
        # A single value has no variance: an utterance of one frame, alone.
        several = x.numel() > x.shape[1]
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training and several,
            self.momentum,
            self.eps,
        )


class _LayerNorm(nn.Module):
    """Scale and shift per channel and epsilon of the layer norms."""

    def __init__(self, num_channels: int, eps: float = 1e-8):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(num_channels))
        self.bias = nn.Parameter(torch.empty(num_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets scale one and shift zero."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)


class GlobalLayerNorm(_LayerNorm):
    """Normalises each utterance over channel, time and frequency.

    Source: the normalisation of Luo and Mesgarani, "Conv-TasNet" (2019),
    eq. 12 to 14, which PHASEN's phase stream uses.

    Arguments
    ---------
    num_channels : int
        Channels, C; scale and shift are per channel.
    eps : float
        Added to the variance.
    unbiased : bool
        Divide the summed squares by n - 1, as the public reference code does.

    Example
    -------
    >>> norm = GlobalLayerNorm(4)
    >>> norm(torch.rand(2, 4, 10, 17)).mean().abs() < 1e-5
    tensor(True)
    """

    def __init__(
        self, num_channels: int, eps: float = 1e-8, unbiased: bool = False
    ):
        super().__init__(num_channels, eps)
        self.unbiased = unbiased

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``, each utterance over its valid frames.

        Arguments
        ---------
        x : torch.Tensor
            Activations ``[B, C, T, F]``, zero on padded frames.
        mask : torch.Tensor, optional
            Frame mask ``[B, 1, T, 1]``.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``, zero on padded frames.
        """
        channels, frames, bins = x.shape[1:]
        if mask is None:
            weight, eps = self.weight, self.eps
            if self.unbiased:
                count = channels * frames * bins
                weight = weight * math.sqrt((count - 1) / count)
                eps = eps * (count - 1) / count
            return F.group_norm(
                x, 1, weight.to(x.dtype), self.bias.to(x.dtype), eps
            )
        wide = x.float()
        count = mask.sum((1, 2, 3), keepdim=True) * channels * bins
        mean = wide.sum((1, 2, 3), keepdim=True) / count
        centred = (wide - mean) * mask
        square = centred.square().sum((1, 2, 3), keepdim=True)
        var = square / (count - 1 if self.unbiased else count)
        out = centred * torch.rsqrt(var + self.eps)
        out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return apply_mask(out, mask).to(x.dtype)


class FrameLayerNorm(_LayerNorm):
    """Normalises each frame over channel and frequency.

    The public reproduction that reached the paper's score normalises the
    phase stream so. No statistics cross frames.

    Arguments
    ---------
    num_channels : int
        Channels, C; scale and shift are per channel.
    eps : float
        Added to the variance.

    Example
    -------
    >>> norm = FrameLayerNorm(4)
    >>> norm(torch.rand(2, 4, 10, 17)).mean((1, 3)).abs().max() < 1e-5
    tensor(True)
    """

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``; padded frames come out zero."""
        frames = x.permute(0, 2, 3, 1)  # [B, T, F, C]
        frames = F.layer_norm(frames, frames.shape[2:], eps=self.eps)
        frames = frames * self.weight.to(x.dtype) + self.bias.to(x.dtype)
        return apply_mask(frames.permute(0, 3, 1, 2), mask)


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
