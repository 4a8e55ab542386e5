"""Norms whose statistics leave padded frames out.

Activations are ``[B, C, T, F]``; masks are those of
`phasen_sb.signals.padding`.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.network.memory_layout import swap_axes, time_innermost
from phasen_sb.signals.padding import apply_mask


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
        if torch.compiler.is_compiling() or x.device.type != "cpu":
            return self._normalize_masked(x, mask)
        # End to end: PyTorch's own kernel then does the rest.
        counts = mask.sum((1, 2, 3)).long().tolist()
        joined = torch.cat(
            [one[:, :count] for one, count in zip(x, counts, strict=True)], 1
        )
        parts = self._normalize(joined[None])[0].split(counts, 1)
        frames = x.shape[2]
        return torch.stack(
            [F.pad(part, (0, 0, 0, frames - part.shape[1])) for part in parts]
        )

    def _normalize_masked(
        self, x: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Does in sizes known beforehand what `forward` does by joining.

        Slower on a CPU, but no graph can be compiled around a number of
        frames that hangs on the mask's values, and a GPU would wait for them.

        Arguments
        ---------
        x : torch.Tensor
            Activations ``[B, C, T, F]``.
        mask : torch.Tensor
            Frame mask ``[B, 1, T, 1]``.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``.
        """
        over = (0, 2, 3)
        count = mask.sum() * x.shape[3]
        mean = (x * mask).sum(over, keepdim=True) / count
        # As short as the input: backward keeps it.
        centred = ((x - mean) * mask).to(x.dtype)
        norm = torch.linalg.vector_norm(
            centred, dim=over, keepdim=True, dtype=torch.float32
        )
        variance = norm.square() / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            for kept, newest in (
                (self.running_mean, mean),
                (self.running_var, unbiased),
            ):
                kept.lerp_(newest.flatten(), self.momentum)
        scale = self.weight[:, None, None] * (variance + self.eps).rsqrt()
        return (centred * scale + self.bias[:, None, None]).to(x.dtype)

    def _normalize(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``, of which every value counts.

        Arguments
        ---------
        x : torch.Tensor
            Activations.

        Returns
        -------
        torch.Tensor
            As ``x``; training mode updates the running statistics.
        """
        # A single value has no variance: an utterance of one frame, alone.
        several = x.numel() > x.shape[1]
        out = F.batch_norm(
            swap_axes(x),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training and several,
            self.momentum,
            self.eps,
        )
        return swap_axes(out)


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
            out = F.group_norm(
                swap_axes(x),
                1,
                weight.to(x.dtype),
                self.bias.to(x.dtype),
                eps,
            )
            return swap_axes(out)
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
        wide = x.float()
        # Over the outermost axis in memory first: that is the fast one.
        mean = wide.mean(3, keepdim=True).mean(1, keepdim=True)
        square = wide.square().mean(3, keepdim=True).mean(1, keepdim=True)
        variance = (square - mean.square()).clamp(min=0)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        shift = self.bias[:, None, None] - mean * scale
        scale, shift = time_innermost(scale), time_innermost(shift)
        return apply_mask((wide * scale + shift).to(x.dtype), mask)
