"""Streams that normalise: see :mod:`phasen_sb.optimized.streams`."""

import torch
from torch import nn

from phasen_sb.optimized.streams import Grid, Stream


class Affine:
    """Scales and shifts a stream, as a norm does.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    scale : torch.Tensor
        ``[C]``, fp32.
    shift : torch.Tensor
        Likewise.
    """

    def __init__(
        self,
        grid: Grid,
        source: Stream,
        scale: torch.Tensor,
        shift: torch.Tensor,
    ):
        self.grid = grid
        self.source = source
        self.scale = scale
        self.shift = shift

    def __call__(self, start: int, place: torch.Tensor) -> None:
        self.source(start, place)
        self.grid.operations.affine(place, self.scale, self.shift)
        self.grid.clear(place, start)


class FrameNorm:
    """Normalises each frame of a stream over channel and bin.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    norm : phasen_sb.network.norms.FrameLayerNorm
        Scale, shift and eps.
    """

    def __init__(
        self,
        grid: Grid,
        source: Stream,
        norm: nn.Module,
    ):
        self.grid = grid
        self.source = source
        self.norm = norm

    def __call__(self, start: int, place: torch.Tensor) -> None:
        self.source(start, place)
        self.grid.operations.frame_norm(place, self.norm)
        self.grid.clear(place, start)


class GlobalMoments(nn.Module):
    """Moments of a global layer norm's input, on their way to the norm.

    A module of its own so that a forward hook can put those of a whole
    recording in place of those of a chunk.
    """

    def forward(
        self, count: int, mean: float, variance: float
    ) -> tuple[int, float, float]:
        """Returns the number of values, their mean and biased variance."""
        return count, mean, variance
