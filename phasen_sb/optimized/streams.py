"""Streams: layers that are asked for one tile of frames after the other.

A stream is called with the first frame of a tile and returns that tile,
``[F, tile, channels]``. Tiles are asked for in order. A layer asks the stream
in front of it for the frames that its kernel sees ahead and keeps those that
it will see again, so nothing is computed twice and all that is worked on stays
in the cache. Frames outside of the recording are zero, as the padding of a
convolution over the whole recording is.

Authors
 * The phasen_sb authors 2026
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from phasen_sb.optimized.folding import Attention
from phasen_sb.optimized.packing import PackedConv

#: Frames are computed in multiples of this.
GRAIN = 16

Stream = Callable[[int], torch.Tensor]


def read(source: Stream, start: int, place: torch.Tensor) -> None:
    """Puts a stream's tile into memory, what is there already in one copy."""
    if isinstance(source, Stored):
        source.read(start, place)
    else:
        place.copy_(source(start))


class Grid(NamedTuple):
    """The tiles of one recording: ``frames`` in all, ``tile`` in a tile."""

    frames: int
    tile: int

    @classmethod
    def of(cls, frames: int, sizes: Sequence[int]) -> "Grid":
        """The tiles of the size that a recording fills best.

        Example
        -------
        >>> Grid.of(641, (96, 112, 128))
        Grid(frames=641, tile=112)
        """

        def computed(size):
            return -(-frames // size) * size

        return cls(frames, min(sizes, key=lambda size: (computed(size), -size)))

    def starts(self) -> range:
        """First frames of its tiles."""
        return range(0, self.frames, self.tile)

    def inside(self, start: int) -> slice:
        """The frames of a tile that hold the recording, a few more at its end.

        There are few different sizes: a library may compile kernels for each.
        """
        first = min(max(-start, 0), self.tile)
        end = min(max(self.frames - start, 0), self.tile)
        frames = -(-max(end - first, 0) // GRAIN) * GRAIN
        return slice(first, min(first + frames, self.tile))

    def clear(self, tile: torch.Tensor, start: int) -> torch.Tensor:
        """Zeroes, in place, what of a tile lies outside of the recording."""
        if start < 0:
            tile[:, :-start] = 0
        if start + self.tile > self.frames:
            tile[:, max(self.frames - start, 0) :] = 0
        return tile


class Spectrum:
    """A spectrogram, prepared tile by tile.

    Arguments
    ---------
    grid : Grid
        The tiles.
    spectrogram : torch.Tensor
        ``[T, F, 2]``
    prepare : callable
        What to do with frames of it.
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

    def __call__(self, start: int) -> torch.Tensor:
        tile = self.grid.tile
        bins = self.spectrogram.shape[1]
        out = torch.zeros(bins, tile, 2, dtype=self.dtype)
        above = min(max(-start, 0), tile)
        part = self.spectrogram[max(start, 0) : max(start + tile, 0)]
        out[:, above : above + len(part)] = self.prepare(part).transpose(0, 1)
        return out


class Stored:
    """A stream in memory, whole: what must be known before more is computed.

    Tile by tile in memory, each as ``[F, tile, C]``.

    Arguments
    ---------
    grid : Grid
        The tiles.
    bins : int
        Frequency bins, F.
    channels : int
        Channels, C.
    dtype : torch.dtype
        Of the values.
    """

    def __init__(
        self, grid: Grid, bins: int, channels: int, dtype: torch.dtype
    ):
        self.grid = grid
        tiles = len(grid.starts())
        self.x = torch.empty(tiles, bins, grid.tile, channels, dtype=dtype)

    def __call__(self, start: int) -> torch.Tensor:
        index, offset = divmod(start, self.grid.tile)
        if not offset:
            return self._tile(index)
        out = torch.empty_like(self.x[0])
        self.read(start, out)
        return out

    def read(self, start: int, place: torch.Tensor) -> None:
        """Copies a tile."""
        tile = self.grid.tile
        index, offset = divmod(start, tile)
        place[:, : tile - offset] = self._tile(index)[:, offset:]
        if offset:
            place[:, tile - offset :] = self._tile(index + 1)[:, :offset]

    def _tile(self, index):
        if 0 <= index < len(self.x):
            return self.x[index]
        return self.x.new_zeros(()).expand(self.x.shape[1:])

    def write(
        self, start: int, tile: torch.Tensor, added: Stream | None = None
    ) -> None:
        """Keeps a tile, or its sum with that of another stream."""
        place = self.x[start // self.grid.tile]
        if added is None:
            place.copy_(tile)
        else:
            torch.add(tile, added(start), out=place)


class Convolution:
    """A packed convolution on a stream.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many frames as the kernel reaches.
    source : callable
        The stream that it reads.
    conv : PackedConv
        Its kernel.
    """

    def __init__(self, grid: Grid, source: Stream, conv: PackedConv):
        self.grid = grid
        self.source = source
        self.conv = conv
        self.seen = None

    def __call__(self, start: int) -> torch.Tensor:
        tile, reach = self.grid.tile, self.conv.reach
        if self.seen is None:
            first = self.source(start + reach - tile)
            bins, _, channels = first.shape
            self.seen = first.new_empty(bins, tile + 2 * reach, channels)
            self.seen[:, : 2 * reach] = first[:, tile - 2 * reach :]
        read(self.source, start + reach, self.seen[:, 2 * reach :])
        frames = self.grid.inside(start)
        if frames == slice(0, tile):
            out = self._convolve(self.seen)
        else:
            shape = len(self.seen), tile, self.conv.channels
            out = self.seen.new_empty(shape)
            if frames.start < frames.stop:
                around = slice(frames.start, frames.stop + 2 * reach)
                x = self.seen[:, around].contiguous()
                out[:, frames] = self._convolve(x)
        self.seen[:, : 2 * reach] = self.seen[:, tile:]
        return self.grid.clear(out, start)

    def _convolve(self, x):
        bins, _, channels = x.shape
        y = self.conv.conv(x.view(bins, -1, self.conv.pack * channels))
        return y.reshape(bins, -1, self.conv.channels)


class FrequencyTransform:
    """A frequency transformation block on a stream.

    Attention that weighs channels is applied after the transform, with which
    it commutes; then the input need not be copied.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many frames as the attention reaches.
    source : callable
        The stream that it reads.
    weights : Attention
        Its weights.
    """

    def __init__(self, grid: Grid, source: Stream, weights: Attention):
        self.grid = grid
        self.source = source
        self.weights = weights
        self.reach = weights.taps // 2
        self.seen = None  # frames of the input, from the tile's first on
        self.shares = None  # of the attention, by frame and tap

    def __call__(self, start: int) -> torch.Tensor:
        tile, reach = self.grid.tile, self.reach
        if self.seen is None:
            self._begin(start + reach - tile)
        x = self._known()
        read(self.source, start + reach, x[:, reach:])
        self.shares[2 * reach :] = self._shares(x, start)[reach:]
        frames = self.grid.inside(start)
        if frames == slice(0, tile):
            out = self._transform(self.seen, self._attention(frames))
        else:
            out = x.new_empty(len(x), tile, x.shape[2])
            if frames.start < frames.stop:
                part = self.seen[:, frames].contiguous()
                out[:, frames] = self._transform(part, self._attention(frames))
        self.seen[:, :reach] = self.seen[:, tile:]
        self.shares[: 2 * reach] = self.shares[tile:]
        return self.grid.clear(out, start)

    def _begin(self, start):
        tile, reach = self.grid.tile, self.reach
        rows = self.weights.transform.shape[1]
        first = self.source(start)
        self.seen = first.new_zeros(rows, tile + reach, first.shape[2])
        self._known()[:, reach:] = first
        shares = self._shares(self._known(), start - reach)[reach:]
        self.shares = shares.new_empty(tile + 2 * reach, shares.shape[1])
        self.shares[: 2 * reach] = shares[tile - 2 * reach :]
        self.seen[:, :reach] = self.seen[:, tile:]

    def _known(self):
        """What is seen, without the rows that fill up the product."""
        return self.seen[: len(self.weights.transform)]

    def _shares(self, x, start):
        """What each frame gives to the attention of the frames around it."""
        frames = self.weights.squeeze(x).transpose(0, 1).flatten(1)
        # Outside of the recording there is nothing to attend to.
        frames[: max(-start, 0)] = 0
        frames[max(self.grid.frames - start, 0) :] = 0
        return frames @ self.weights.weigh

    def _attention(self, frames):
        """``[frames, outputs]``: each frame's taps lie on a diagonal."""
        taps, bias = self.weights.taps, self.weights.weigh_bias
        outputs = len(bias)
        width = taps * outputs
        diagonal = self.shares.as_strided(
            (frames.stop - frames.start, taps, outputs),
            (width, width + outputs, 1),
            frames.start * width,
        )
        return (diagonal.sum(1) + bias).relu_()

    def _transform(self, x, attention):
        """Of the frames to which the attention belongs: there may be more."""
        weights, count = self.weights, len(attention)
        bins, (rows, columns, channels) = len(weights.transform), x.shape
        weighted = x
        if weights.per_bin:
            weighted = torch.zeros_like(x)
            attention = attention.t()[:, :, None]
            weighted[:bins, :count] = x[:bins, :count] * attention
        # All columns, those seen ahead, too: so nothing is copied.
        mixed = torch.mm(weights.transform, weighted.view(rows, -1))
        mixed = mixed.view(bins, columns, channels)
        if not weights.per_bin:
            mixed[:, :count] *= attention
        y = torch.mm(x[:bins].view(-1, channels), weights.keep)
        y = weights.mix.add_to(y.view(bins, columns, channels), mixed)
        return y[:, :count]
