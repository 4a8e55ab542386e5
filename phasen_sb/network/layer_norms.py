"""Layer norms of activations ``[B, C, T, F]``; padding is left out of them.

Valid frames are those of
:func:`phasen_sb.signals.padding.mark_valid_frames`.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from phasen_sb.network.convolution import has_own_backward
from phasen_sb.network.memory_layout import swap_axes, time_innermost
from phasen_sb.signals.padding import clear_padded_frames


class _LayerNorm(nn.Module):
    """The parameters of a layer norm: scale and shift of each channel."""

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

    PHASEN's phase stream uses it. Source: Luo and Mesgarani, "Conv-TasNet"
    (2019), eq. 12 to 14.

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
        self, x: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``, each utterance over its valid frames.

        Arguments
        ---------
        x : torch.Tensor
            Activations ``[B, C, T, F]``, zero on padded frames.
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.

        Returns
        -------
        torch.Tensor
            ``[B, C, T, F]``, zero on padded frames.
        """
        channels, frames, bins = x.shape[1:]
        if valid is None:
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
        count = valid.sum((1, 2, 3), keepdim=True) * channels * bins
        mean = wide.sum((1, 2, 3), keepdim=True) / count
        centred = (wide - mean) * valid
        square = centred.square().sum((1, 2, 3), keepdim=True)
        var = square / (count - 1 if self.unbiased else count)
        out = centred * torch.rsqrt(var + self.eps)
        out = out * self.weight[:, None, None] + self.bias[:, None, None]
        return clear_padded_frames(out, valid).to(x.dtype)


class FrameLayerNorm(_LayerNorm):
    """Normalises each frame over channel and frequency.

    The public reproduction that reached the paper's score normalises the
    phase stream like this. Frames do not share statistics.

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
        self, x: torch.Tensor, valid: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Normalises ``[B, C, T, F]``; padded frames come out zero."""
        if has_own_backward(x, self.weight):
            out = _FrameNorm.apply(x, self.weight, self.bias, self.eps)
        else:
            out = _normalize_frames(x, self.weight, self.bias, self.eps)[0]
        return clear_padded_frames(out, valid)


def _normalize_frames(x, weight, bias, eps):
    """Returns the normalised ``x`` and what its backward pass needs."""
    wide = x.float()
    # The outermost axis in memory first: that one is the fastest.
    mean = wide.mean(3, keepdim=True).mean(1, keepdim=True)
    square = wide.square().mean(3, keepdim=True).mean(1, keepdim=True)
    variance = square - mean.square()
    factor = torch.rsqrt(variance.clamp(min=0) + eps)
    scale = weight[:, None, None] * factor
    shift = bias[:, None, None] - mean * scale
    scale, shift = time_innermost(scale), time_innermost(shift)
    return (wide * scale + shift).to(x.dtype), mean, variance, factor, scale


class _FrameNorm(torch.autograd.Function):
    """Its backward pass reads the activations three times, not fifteen."""

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        out, *statistics = _normalize_frames(x, weight, bias, eps)
        ctx.save_for_backward(x, weight, *statistics)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, mean, variance, factor, scale = ctx.saved_tensors
        grad, wide = grad.float(), x.float()
        of_shift = grad.sum(3, keepdim=True)  # [B, C, T, 1]
        of_scale = (grad * wide).sum(3, keepdim=True) - mean * of_shift

        of_bias = of_shift.sum((0, 2, 3))
        of_weight = (of_scale * factor).sum((0, 2, 3))
        weight = weight[:, None, None]
        of_factor = (of_scale * weight).sum(1, keepdim=True)  # [B, 1, T, 1]
        of_variance = -0.5 * factor**3 * of_factor
        of_variance = torch.where(variance >= 0, of_variance, 0)  # the clamp
        of_mean = -(of_shift * scale).sum(1, keepdim=True)
        of_mean = of_mean - 2 * mean * of_variance
        count = x.shape[1] * x.shape[3]
        # Expanded, so that frames and channels are one axis to the operator.
        constant, slope = (
            time_innermost((share / count).expand_as(scale))
            for share in (of_mean, 2 * of_variance)
        )
        of_x = torch.addcmul(constant, wide, slope).addcmul_(grad, scale)
        return of_x.to(x.dtype), of_weight, of_bias, None
