"""Recurrence over time in each band, and over bands in each frame.

One recurrent layer over all bins has weights for each of them, and learns each
sound anew in each band. Here bands share weights: fewer of them learn what
holds for any band, and what is heard in one is passed on to the others.

Source: Le, Chen, Chen, Lu, "DPCRN: Dual-Path Convolution Recurrent Network for
Single Channel Speech Enhancement", Interspeech 2021,
https://arxiv.org/abs/2107.05429
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.layers import Linear
from phasen_sb.network.recurrence import avoid_packing, recur


class BandRecurrence(nn.Module):
    """Maps features of each bin to values of each bin, through bands.

    Arguments
    ---------
    n_bins : int
        Frequency bins, F.
    channels : int
        Features of a bin, C.
    outputs : int
        Values of a bin.
    band_bins : int
        Bins of a band.
    layer : type
        ``torch.nn.LSTM`` or ``torch.nn.GRU``.
    units : int
        Units in each direction.
    width : int
        Values of a band between layers.
    pairs : int
        Pairs of a layer over bands and one over time.
    causal : bool
        Whether the recurrence over time runs forward only.
    initializer : callable, optional
        Of the last dense layer.

    Raises
    ------
    phasen_sb.errors.UserError
        If a band would have no bin, or more than there are.

    Example
    -------
    >>> bands = BandRecurrence(17, 3, 1, band_bins=4, units=5, width=6)
    >>> bands(torch.rand(2, 50, 17 * 3)).shape
    torch.Size([2, 50, 17])
    """

    def __init__(
        self,
        n_bins: int,
        channels: int,
        outputs: int,
        band_bins: int,
        layer: type[nn.RNNBase] = nn.LSTM,
        units: int = 32,
        width: int = 32,
        pairs: int = 2,
        causal: bool = False,
        initializer: Callable[[nn.Module], None] | None = None,
    ):
        super().__init__()
        if not 1 <= band_bins <= n_bins:
            raise UserError(
                f"band_bins is {band_bins}; it must be from 1 to the {n_bins} "
                "bins of the spectrogram."
            )
        self.n_bins, self.channels = n_bins, channels
        self.count = -(-n_bins // band_bins)
        values = band_bins * channels
        self.split = Linear(values, width)
        self.position = nn.Parameter(torch.empty(self.count, width))
        self.reset_parameters()
        self.pairs = nn.ModuleList(
            _Pair(layer, width, units, causal) for _ in range(pairs)
        )
        self.join = Linear(width, values)
        self.dense = Linear(channels, 2 * channels)
        self.last = Linear(2 * channels, outputs, initializer=initializer)

    def reset_parameters(self) -> None:
        """Sets what tells bands apart to zero; layers reset themselves."""
        nn.init.zeros_(self.position)

    def forward(
        self,
        x: torch.Tensor,
        valid: torch.Tensor | None = None,
        memory: FrameMemory | None = None,
    ) -> torch.Tensor:
        """Maps features of bins to values of bins.

        Arguments
        ---------
        x : torch.Tensor
            ``[B, T, F * C]``
        valid : torch.Tensor, optional
            ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.
        memory : FrameMemory, optional
            Of the last step, which causal recurrence continues.

        Returns
        -------
        torch.Tensor
            ``[B, T, outputs * F]``; what padded frames hold is of no meaning.
        """
        bins, bands = self.to_bands(x)
        for pair in self.pairs:
            bands = pair.mix_bands(bands)
            bands = pair.mix_frames(bands, valid, memory)
        return self.to_bins(bins, bands)

    def to_bands(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Joins the bins of each band, and maps them to its values.

        Both are ``[B, T, bands, values]``.
        """
        missing = self.split.in_features * self.count - x.shape[2]
        # Not unflatten(): ONNX graphs would take one number of frames alone.
        bins = F.pad(x, (0, missing)).reshape(*x.shape[:2], self.count, -1)
        return bins, self.split(bins) + self.position

    def to_bins(self, bins: torch.Tensor, bands: torch.Tensor) -> torch.Tensor:
        """Maps what :meth:`to_bands` returns to ``[B, T, outputs * F]``."""
        # Beside what each bin holds, which bands of few values do not keep.
        bins = F.relu(bins + self.join(bands)).flatten(2)
        bins = bins.unflatten(2, (-1, self.channels))[:, :, : self.n_bins]
        out = self.last(F.relu(self.dense(bins)))
        return out.transpose(2, 3).flatten(2)

    def avoid_packing(self) -> None:
        """As of :class:`phasen_sb.network.heads.AmplitudeHead`."""
        for pair in self.pairs:
            avoid_packing(pair.over_time)


class _Pair(nn.Module):
    """Recurrence over bands and over time, each beside a path around it."""

    def __init__(self, layer, width, units, causal):
        super().__init__()
        self.over_bands = layer(
            width, units, batch_first=True, bidirectional=True
        )
        self.bands_out = Linear(2 * units, width)
        self.bands_norm = nn.LayerNorm(width)
        self.over_time = layer(
            width, units, batch_first=True, bidirectional=not causal
        )
        self.time_out = Linear(units if causal else 2 * units, width)
        self.time_norm = nn.LayerNorm(width)

    def mix_bands(self, x):
        """Maps ``[B, T, bands, width]`` to the same shape."""
        out = self.over_bands(x.flatten(0, 1))[0]
        return x + self.bands_norm(self.bands_out(out)).view_as(x)

    def mix_frames(self, x, valid=None, memory=None):
        """Maps ``[B, T, bands, width]`` to the same shape."""
        batch, _, bands, _ = x.shape
        seen = x.transpose(1, 2).flatten(0, 1)
        if valid is not None:
            valid = valid.repeat_interleave(bands, 0)
        out = recur(self.over_time, seen, valid, memory)
        out = self.time_norm(self.time_out(out))
        return x + out.unflatten(0, (batch, bands)).transpose(1, 2)
