"""Streams that normalise: see :mod:`phasen_sb.optimized.streams`.

Authors
 * The phasen_sb authors 2026
"""

import torch

from phasen_sb.optimized.streams import Grid, Place, Stream


def as_row(values: torch.Tensor, bins: int, pack: int) -> torch.Tensor:
    """Repeats ``[C]`` for each bin and packed frame: ``[F, pack * C]``.

    Products with a whole row are nine times faster than a broadcast.

    Example
    -------
    >>> as_row(torch.rand(12), 257, 2).shape
    torch.Size([257, 24])
    """
    return values.repeat(pack).expand(bins, -1).contiguous()


class Affine:
    """Scales and shifts a stream, as a norm does.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    scale : torch.Tensor
        From :func:`as_row`, ``[F, channels]``.
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

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        y = torch.addcmul(self.shift, self.source(start), self.scale, out=out)
        return self.grid.clear(y, start)


class FrameNorm:
    """Normalises each frame of a stream over channel and bin.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    norm : phasen_sb.norms.FrameLayerNorm
        Scale, shift and eps.
    bins : int
        Frequency bins, F.
    """

    def __init__(
        self, grid: Grid, source: Stream, norm: torch.nn.Module, bins: int
    ):
        self.grid = grid
        self.source = source
        self.eps = norm.eps
        self.weight = as_row(norm.weight, bins, grid.pack)
        self.bias = as_row(norm.bias, bins, grid.pack)

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        x = self.source(start)
        # A new tensor: in fp32 x itself may lie in a stream's memory.
        y = x.float()
        y = y - self._frame_means(y)
        y *= torch.rsqrt(self._frame_means(y.square()) + self.eps)
        y = torch.addcmul(self.bias, y, self.weight)
        y = y.to(x.dtype) if out is None else out.copy_(y)
        return self.grid.clear(y, start)

    def _frame_means(self, x):
        rows, _, width = x.shape
        means = x.mean(1).view(rows, self.grid.pack, -1)
        means = means.mean(2, keepdim=True).expand_as(means)
        return means.reshape(rows, 1, width)
