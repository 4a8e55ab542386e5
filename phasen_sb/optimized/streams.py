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
from phasen_sb.optimized.packing import (
    PackedConv,
    pack_frames,
    rows_for,
    unpack_frames,
)

#: Rows are computed in multiples of this.
GRAIN = 8

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

    def inside(self, start: int) -> slice:
        """The rows of a tile that hold the recording, a few more at its end.

        There are few different sizes: a library may compile kernels for each.
        """
        first = min(max(-start, 0), self.tile)
        end = min(max(self.rows - start, 0), self.tile)
        rows = -(-max(end - first, 0) // GRAIN) * GRAIN
        return slice(first, min(first + rows, self.tile))

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


class Spectrum:
    """A spectrogram, packed and prepared tile by tile.

    Arguments
    ---------
    grid : Grid
        The tiles.
    spectrogram : torch.Tensor
        ``[T, F, 2]``
    prepare : callable
        What to do with frames of it before they are packed.
    dtype : torch.dtype
        Of the tiles.
    """

    def __init__(
        self,
        grid: Grid,
        spectrogram: torch.Tensor,
        prepare: Callable[[torch.Tensor], torch.Tensor],
        dtype: torch.dtype,
    ):
        self.grid = grid
        self.spectrogram = spectrogram
        self.prepare = prepare
        self.dtype = dtype

    def __call__(self, start: int, out: Place = None) -> torch.Tensor:
        grid = self.grid
        if out is None:
            bins = self.spectrogram.shape[1]
            out = torch.empty(grid.tile, bins, 2 * grid.pack, dtype=self.dtype)
        above = min(max(-start, 0), grid.tile)
        first = max(start, 0) * grid.pack
        end = max(start + grid.tile, 0) * grid.pack
        part = self.prepare(self.spectrogram[first:end])
        part = pack_frames(part, grid.pack)
        out[:above] = 0
        out[above : above + len(part)] = part
        out[above + len(part) :] = 0
        return out


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
        if out is None:
            out = self.seen.new_empty(tile, self.seen.shape[1], len(bias))
        rows = self.grid.inside(start)
        if rows.stop > rows.start:
            x = self.seen[rows.start : rows.stop + 2 * reach]
            y = F.conv2d(
                x.permute(2, 0, 1)[None],
                weight,
                bias,
                padding=(0, weight.shape[3] // 2),
            )
            y = y[0].permute(1, 2, 0)
            if self.relu:
                torch.clamp_min(y, 0, out=out[rows])
            else:
                out[rows] = y
        self.seen[: 2 * reach] = self.seen[tile:]
        return self.grid.clear(out, start)


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
        if out is None:
            out = torch.empty_like(new)
        rows = self.grid.inside(start)
        if rows.stop > rows.start:
            y = self._transform(self.seen[rows], self._attention(rows))
            torch.clamp_min(y, 0, out=out[rows])
        self.seen[:reach] = self.seen[tile:]
        self.shares[:ahead] = self.shares[tile * pack :]
        return self.grid.clear(out, start)

    def _shares(self, x, start):
        """What each frame gives to the attention of the frames around it."""
        weights, pack = self.weights, self.grid.pack
        inside = self.grid.inside(start)
        shares = x.new_zeros(len(x) * pack, weights.weigh.shape[1])
        if inside.stop == inside.start:
            return shares
        squeezed = x.new_zeros(
            *x.shape[:2], weights.squeeze.bias.numel() * pack
        )
        squeezed[inside] = pointwise(x[inside], weights.squeeze, pack).relu_()
        frames = self.grid.clear(squeezed, start)[inside]
        frames = unpack_frames(frames, pack).flatten(1)
        rows = slice(inside.start * pack, inside.stop * pack)
        shares[rows] = frames @ weights.weigh
        return shares

    def _attention(self, rows):
        """``[frames, outputs]``: each frame's taps lie on a diagonal."""
        taps, pack = self.weights.taps, self.grid.pack
        bias = self.weights.weigh_bias
        outputs = len(bias)
        width = taps * outputs
        first = (rows.start + self.reach) * pack - taps // 2
        diagonal = self.shares.as_strided(
            ((rows.stop - rows.start) * pack, taps, outputs),
            (width, width + outputs, 1),
            first * width,
        )
        return (diagonal.sum(1) + bias).relu_()

    def _transform(self, x, attention):
        weights, pack = self.weights, self.grid.pack
        rows, bins, width = x.shape
        if weights.per_bin:
            attention = attention.view(rows, pack, bins).transpose(1, 2)
            weighted = x.view(rows, bins, pack, -1) * attention[..., None]
        else:
            weighted = x * attention.view(rows, 1, width)
        return pointwise(x, weights.keep, pack).baddbmm_(
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
