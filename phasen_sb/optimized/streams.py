"""Streams: layers that are asked for one tile of frames after the other.

A stream is called with the first frame of a tile and with the place,
``[F, tile, channels]``, that it is to write this tile to. Tiles are asked for
in order. A layer asks the stream in front of it for the frames that its kernel
sees ahead and keeps those that it will see again, so nothing is computed twice
and all that is worked on stays in the cache. Frames outside of the recording
are zero, as the padding of a convolution over the whole recording is.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import torch

from phasen_sb.optimized.folding import Attention, Operation
from phasen_sb.optimized.portable.packing import PACKED

#: Frames are computed in multiples of this.
GRAIN = 16
#: What goes on to a tile costs as much as so many frames.
TILE_COST = 12

Stream = Callable[[int, torch.Tensor], None]


def fitting(frames: int, sizes: Sequence[int]) -> int:
    """The size of tiles that a recording fills best.

    Example
    -------
    >>> fitting(641, (96, 112, 128)), fitting(9601, (96, 112, 128))
    (112, 128)
    """

    def cost(size):
        tiles = -(-frames // size)
        return tiles * (size + TILE_COST)

    return min(sizes, key=cost)


class Grid(NamedTuple):
    """The tiles of one recording, and the operations that compute them.

    ``frames`` are those of the recording, ``tile`` those of a tile.
    """

    frames: int
    tile: int
    operations: ModuleType

    def starts(self) -> range:
        """First frames of its tiles."""
        return range(0, self.frames, self.tile)

    def inside(self, start: int) -> slice:
        """The frames of a tile that hold the recording, a few more at its end.

        There are few different sizes: a library may compile kernels for each.
        All are multiples of what convolutions pack.
        """
        first = min(max(-start, 0), self.tile) // PACKED * PACKED
        end = min(max(self.frames - start, 0), self.tile)
        frames = -(-max(end - first, 0) // GRAIN) * GRAIN
        return slice(first, min(first + frames, self.tile))

    def read(self, source: Stream, start: int, place: torch.Tensor) -> None:
        """Asks a stream for a tile, unless all of it lies outside."""
        if -self.tile < start < self.frames:
            source(start, place)
        else:
            self.operations.clear(place)

    def clear(self, tile: torch.Tensor, start: int) -> None:
        """Zeroes, in place, what of a tile lies outside of the recording."""
        if start < 0:
            self.operations.clear(tile[:, :-start])
        if start + self.tile > self.frames:
            self.operations.clear(tile[:, max(self.frames - start, 0) :])


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
    """

    def __init__(
        self,
        grid: Grid,
        spectrogram: torch.Tensor,
        prepare: Callable[[torch.Tensor], torch.Tensor],
    ):
        self.grid = grid
        self.spectrogram = spectrogram
        self.prepare = prepare

    def __call__(self, start: int, place: torch.Tensor) -> None:
        tile = self.grid.tile
        above = min(max(-start, 0), tile)
        part = self.spectrogram[max(start, 0) : max(start + tile, 0)]
        inside = slice(above, above + len(part))
        prepared = self.prepare(part).to(
            place.dtype, copy=True, memory_format=torch.contiguous_format
        )
        as_pairs(place[:, inside]).copy_(as_pairs(prepared).t())
        self.grid.clear(place, start)


def as_pairs(x: torch.Tensor) -> torch.Tensor:
    """``[A, B, 2]`` as one number each, ``[A, B]``: one move, not two.

    Pairs lie together, at an even place in memory.

    Example
    -------
    >>> as_pairs(torch.randn(257, 64, 2)).shape
    torch.Size([257, 64])
    """
    wide = {2: torch.int32, 4: torch.int64}[x.itemsize]
    return x.view(wide)[..., 0]


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
        self.channels = channels
        shape = len(grid.starts()), bins, grid.tile, channels
        self.x = grid.operations.empty_tile(shape, dtype)

    def tile(self, start: int) -> torch.Tensor:
        """The tile itself, to read it or to write to it."""
        return self.x[start // self.grid.tile]

    def keep(self, start: int) -> None:
        """Keeps what was written to a tile."""

    def __call__(self, start: int, place: torch.Tensor) -> None:
        tile = self.grid.tile
        index, offset = divmod(start, tile)
        self._copy(index, slice(offset, tile), place[:, : tile - offset])
        if offset:
            self._copy(index + 1, slice(0, offset), place[:, tile - offset :])

    def _copy(self, index, frames, place):
        if 0 <= index < len(self.x):
            self._read(self.x[index, :, frames], place)
        else:
            self.grid.operations.clear(place)

    def _read(self, frames, place):
        self.grid.operations.copy(frames, place)


class StoredInThreeBytes(Stored):
    """A stream of fp32, whole, in three quarters of the memory.

    Values have 16 significant bits, not 24: rounding them changes what the
    network returns by about as much as other orders of summing do.

    Arguments
    ---------
    grid : Grid
        The tiles.
    bins : int
        Frequency bins, F.
    channels : int
        Channels, C.
    """

    def __init__(self, grid: Grid, bins: int, channels: int):
        super().__init__(grid, bins, 3 * channels, torch.uint8)
        self.channels = channels
        tile = bins, grid.tile, channels
        self.written = grid.operations.empty_tile(tile, torch.float32)

    def tile(self, start: int) -> torch.Tensor:
        """Memory to write a tile to, which :meth:`keep` keeps."""
        return self.written

    def keep(self, start: int) -> None:
        """Keeps what was written to a tile."""
        place = super().tile(start)
        self.grid.operations.to_three_bytes(self.written, place)

    def _read(self, frames, place):
        self.grid.operations.from_three_bytes(frames, place)


class Convolution:
    """A convolution on a stream.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many frames as the kernel reaches.
    source : callable
        The stream that it reads.
    conv : Conv
        Its kernel.
    seen : torch.Tensor
        Memory for what the kernel sees of the source,
        ``[F, tile + 2 * reach, C]``.
    """

    def __init__(
        self,
        grid: Grid,
        source: Stream,
        conv: Operation,
        seen: torch.Tensor,
    ):
        self.grid = grid
        self.source = source
        self.conv = conv
        self.seen = seen
        self.is_first = True

    def __call__(self, start: int, place: torch.Tensor) -> None:
        reach = self.conv.reach
        if self.is_first:
            self._look(start + reach - self.grid.tile)
            self.is_first = False
        self._look(start + reach)
        frames = self.grid.inside(start)
        if frames.start < frames.stop:
            around = slice(frames.start, frames.stop + 2 * reach)
            self.conv(self.seen[:, around], place[:, frames])
        self.grid.clear(place, start)

    def _look(self, start):
        """Goes on by a tile, which begins at a frame ahead."""
        tile, reach, seen = self.grid.tile, self.conv.reach, self.seen
        self.grid.operations.copy(seen[:, tile:], seen[:, : 2 * reach])
        self.grid.read(self.source, start, seen[:, 2 * reach :])


class FrequencyTransform:
    """A frequency transformation block on a stream.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many frames as the attention reaches.
    source : callable
        The stream that it reads.
    weights : Attention
        Its weights.
    seen : torch.Tensor
        Memory for what it sees of the source, ``[F, tile + reach, C]``; the
        attention reaches half of its taps.
    """

    def __init__(
        self,
        grid: Grid,
        source: Stream,
        weights: Attention,
        seen: torch.Tensor,
    ):
        self.grid = grid
        self.source = source
        self.weights = weights
        self.seen = seen  # of the input, from the tile's first frame on
        self.reach = weights.taps // 2
        # From that many frames before the tile on.
        self.shares = seen.new_zeros(
            grid.tile + 2 * self.reach, weights.shares.count
        )
        self.is_first = True

    def __call__(self, start: int, place: torch.Tensor) -> None:
        tile, reach, seen = self.grid.tile, self.reach, self.seen
        if self.is_first:
            # Where zero weights meet it: what memory held may be no number.
            seen[:, tile:] = 0
            self._look(start + reach - tile)
            self.is_first = False
        self._look(start + reach)
        frames = self.grid.inside(start)
        if frames.start < frames.stop:
            around = slice(frames.start, frames.stop + 2 * reach)
            self.weights.transform(
                seen[:, frames], self.shares[around], place[:, frames]
            )
        self.grid.clear(place, start)

    def _look(self, start):
        """Goes on by a tile, which begins at a frame ahead."""
        tile, reach, seen = self.grid.tile, self.reach, self.seen
        self.grid.operations.copy(seen[:, tile:], seen[:, :reach])
        ahead, shares = seen[:, reach:], self.shares[2 * reach :]
        self.shares[: 2 * reach] = self.shares[tile:]
        self.grid.read(self.source, start, ahead)
        self.weights.shares(ahead, shares)
        # Outside of the recording there is nothing to attend to.
        shares[: max(-start, 0)] = 0
        shares[max(self.grid.frames - start, 0) :] = 0
