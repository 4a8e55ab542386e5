"""Streams: layers that are asked for one tile of rows after the other.

A stream is called with the first row of a tile and returns that tile,
``[tile, F, channels]``, in the memory that it is given, if any. Tiles are
asked for in order. A layer asks the stream
in front of it for the rows that its kernel sees ahead and keeps those that it
will see again, so nothing is computed twice and all that is worked on stays
in the cache. Rows outside of the recording are zero, as the padding of a
convolution over the whole recording is.

Authors
 * The phasen_sb authors 2026
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from phasen_sb.optimized.folding import Attention, Pointwise
from phasen_sb.optimized.packing import PackedConv, rows_for

Stream = Callable[[int, torch.Tensor | None], torch.Tensor]
Place = torch.Tensor | None


def pointwise(x: torch.Tensor, weights: Pointwise, pack: int) -> torch.Tensor:
    """A 1x1 convolution of rows ``[rows, F, pack * C]``.

    Example
    -------
    >>> weights = Pointwise(torch.rand(5, 24, 1, 1), torch.zeros(5))
    >>> pointwise(torch.rand(32, 257, 48), weights, 2).shape
    torch.Size([32, 257, 10])
    """
    rows, bins, width = x.shape
    x = x.view(1, rows, bins * pack, width // pack).permute(0, 3, 1, 2)
    y = F.conv2d(x, weights.weight, weights.bias)
    return y[0].permute(1, 2, 0).reshape(rows, bins, -1)


class Grid(NamedTuple):
    """The tiles of one recording: ``frames`` in all, ``pack`` in a row, and
    ``tile`` rows in a tile."""

    frames: int
    pack: int
    tile: int

    @property
    def rows(self) -> int:
        """Rows of the recording."""
        return rows_for(self.frames, self.pack)

    def starts(self) -> range:
        """First rows of its tiles."""
        return range(0, self.rows, self.tile)

    def is_outside(self, start: int) -> bool:
        """Whether a tile has no row of the recording."""
        return start + self.tile <= 0 or start >= self.rows

    def clear(self, tile: torch.Tensor, start: int) -> torch.Tensor:
        """Zeroes, in place, what of a tile lies outside of the recording."""
        if start < 0:
            tile[:-start] = 0
        whole, half = divmod(self.frames, self.pack)
        if start + self.tile <= whole:
            return tile
        end = whole - start
        if half and end >= 0:
            width = tile.shape[-1] // self.pack
            tile[end, :, half * width :] = 0
            end += 1
        tile[max(end, 0) :] = 0
        return tile


class Stored:
    """A stream in memory, whole: what must be known before more is computed.

    Arguments
    ---------
    grid : Grid
        The tiles.
    x : torch.Tensor
        ``[rows, F, channels]``
    """

    def __init__(self, grid: Grid, x: torch.Tensor):
        self.grid = grid
        self.x = x

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        end = start + self.grid.tile
        if out is None:
            if start >= 0 and end <= self.grid.rows:
                return self.x[start:end]
            out = self.x.new_empty(self.grid.tile, *self.x.shape[1:])
        part = self.x[max(start, 0) : max(end, 0)]
        above = min(max(-start, 0), self.grid.tile)
        out[:above] = 0
        out[above : above + len(part)] = part
        out[above + len(part) :] = 0
        return out

    def write(self, start: int, tile: torch.Tensor) -> None:
        """Keeps the rows of a tile that belong to the recording."""
        part = self.x[start : start + self.grid.tile]
        part.copy_(tile[: len(part)])


class Convolution:
    """A packed convolution on a stream.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many rows as the kernel reaches.
    source : callable
        The stream that it reads.
    conv : PackedConv
        Its kernel.
    relu : bool
        Whether ReLU follows.
    """

    def __init__(
        self, grid: Grid, source: Stream, conv: PackedConv, relu: bool = False
    ):
        self.grid = grid
        self.source = source
        self.conv = conv
        self.relu = relu
        self.seen = None

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        weight, bias, reach = self.conv
        tile = self.grid.tile
        if self.seen is None:
            first = self.source(start + reach - tile)
            self.seen = first.new_empty(tile + 2 * reach, *first.shape[1:])
            self.seen[: 2 * reach] = first[tile - 2 * reach :]
        self.source(start + reach, self.seen[2 * reach :])
        if self.grid.is_outside(start):
            y = self.seen.new_zeros(tile, self.seen.shape[1], len(bias))
        else:
            y = F.conv2d(
                self.seen.permute(2, 0, 1)[None],
                weight,
                bias,
                padding=(0, weight.shape[3] // 2),
            )
            y = y[0].permute(1, 2, 0)
        self.seen[: 2 * reach] = self.seen[tile:]
        if self.relu:
            y = torch.clamp_min(y, 0, out=y if out is None else out)
        elif out is not None:
            y = out.copy_(y)
        return self.grid.clear(y, start)


class FrequencyTransform:
    """A frequency transformation block on a stream.

    The joining convolution is applied before the transform, with which it
    commutes: so the two halves need not be laid side by side.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many rows as the attention reaches.
    source : callable
        The stream that it reads.
    weights : Attention
        Its weights.
    """

    def __init__(self, grid: Grid, source: Stream, weights: Attention):
        self.grid = grid
        self.source = source
        self.weights = weights
        self.reach = rows_for(weights.taps // 2, grid.pack)
        self.seen = None  # rows of the input, from the tile's first on
        self.shares = None  # of the attention, by frame and tap

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        tile, reach, pack = self.grid.tile, self.reach, self.grid.pack
        ahead = 2 * reach * pack
        if self.seen is None:
            first = start + reach - tile
            x = self.source(first)
            self.seen = x.new_empty(tile + reach, *x.shape[1:])
            self.seen[:reach] = x[tile - reach :]
            shares = self._shares(x, first)
            self.shares = shares.new_empty(len(shares) + ahead, shares.shape[1])
            self.shares[:ahead] = shares[len(shares) - ahead :]
        new = self.source(start + reach, self.seen[reach:])
        self.shares[ahead:] = self._shares(new, start + reach)
        y = self._transform(self.seen[:tile], self._weights(), start)
        self.seen[:reach] = self.seen[tile:]
        self.shares[:ahead] = self.shares[tile * pack :]
        y = torch.clamp_min(y, 0, out=y if out is None else out)
        return self.grid.clear(y, start)

    def _shares(self, x, start):
        weights, pack = self.weights, self.grid.pack
        rows, bins, _ = x.shape
        if self.grid.is_outside(start):
            return x.new_zeros(rows * pack, weights.weigh.shape[1])
        x = self.grid.clear(pointwise(x, weights.squeeze, pack).relu_(), start)
        x = x.view(rows, bins, pack, -1).transpose(1, 2)
        return x.reshape(rows * pack, -1) @ weights.weigh

    def _weights(self):
        """``[tile * pack, outputs]``: each frame's taps lie on a diagonal."""
        taps, pack = self.weights.taps, self.grid.pack
        bias = self.weights.weigh_bias
        outputs = len(bias)
        width = taps * outputs
        diagonal = self.shares.as_strided(
            (self.grid.tile * pack, taps, outputs),
            (width, width + outputs, 1),
            (self.reach * pack - taps // 2) * width,
        )
        return (diagonal.sum(1) + bias).relu_()

    def _transform(self, x, attention, start):
        weights, pack = self.weights, self.grid.pack
        if self.grid.is_outside(start):
            return torch.zeros_like(x)
        rows, bins, width = x.shape
        if weights.per_bin:
            attention = attention.view(rows, pack, bins).transpose(1, 2)
            weighted = x.view(rows, bins, pack, -1) * attention[..., None]
        else:
            weighted = x * attention.view(rows, 1, width)
        return torch.baddbmm(
            pointwise(x, weights.keep, pack),
            weights.transform.expand(rows, bins, bins),
            pointwise(weighted.view(rows, bins, width), weights.mix, pack),
        )


class Sum:
    """Adds two streams."""

    def __init__(self, one: Stream, other: Stream):
        self.one = one
        self.other = other

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        return torch.add(self.one(start), self.other(start), out=out)


class Affine:
    """Scales and shifts each channel of a stream, as a norm does.

    Arguments
    ---------
    grid : Grid
        The tiles.
    source : callable
        The stream.
    scale : torch.Tensor
        ``[C]``
    shift : torch.Tensor
        ``[C]``
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
        self.scale = scale.repeat(grid.pack)
        self.shift = shift.repeat(grid.pack)

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
    norm : phasen_sb.layers.FrameLayerNorm
        Scale, shift and eps.
    """

    def __init__(self, grid: Grid, source: Stream, norm: torch.nn.Module):
        self.grid = grid
        self.source = source
        self.norm = norm

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        x = self.source(start)
        rows, bins, width = x.shape
        frames = x.view(rows, bins, self.grid.pack, -1).float()
        var, mean = torch.var_mean(frames, (1, 3), correction=0, keepdim=True)
        y = (frames - mean) * torch.rsqrt(var + self.norm.eps)
        y = torch.addcmul(self.norm.bias, y, self.norm.weight)
        y = y.view(rows, bins, width)
        y = y.to(x.dtype) if out is None else out.copy_(y)
        return self.grid.clear(y, start)
