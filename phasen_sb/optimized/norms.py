"""The norms of streams (:mod:`phasen_sb.optimized.streams`)."""

import torch
from torch import nn

from phasen_sb.optimized.streams import Grid, Stream


class Affine:
    """Scales and shifts the channels of a stream.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    scale : torch.Tensor
        ``[C]``, fp32.
    shift : torch.Tensor
        ``[C]``, fp32.
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

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        self.source(start, place, skip)
        needed = place[:, skip:]
        self.grid.operations.affine(needed, self.scale, self.shift)
        self.grid.clear(place, start)


class FrameNorm:
    """Normalises each frame of a stream over channels and bins.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    norm : phasen_sb.network.layer_norms.FrameLayerNorm
        Has scale, shift and epsilon.
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

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        self.source(start, place, skip)
        self.grid.operations.frame_norm(place[:, skip:], self.norm)
        self.grid.clear(place, start)


class GlobalMoments(nn.Module):
    """Passes the moments of its input to a global layer norm.

    It is a module so that a forward hook can replace the moments of a chunk by
    those of the whole recording.
    """

    def forward(
        self, count: int, mean: float, variance: float
    ) -> tuple[int, float, float]:
        """Returns the number of values, their mean and biased variance."""
        return count, mean, variance
