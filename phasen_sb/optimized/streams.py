"""Streams: layers that compute one tile of frames after the other.

A stream is called with the first frame of a tile and with the memory,
``[F, tile, channels]``, to write the tile to; tiles are requested in order.
A layer requests from its source the frames ahead that its kernel sees, and
keeps those that it will see again. So nothing is computed twice, and the data
in use stays in the cache. Frames outside the recording are zero, like the
padding of a convolution over the whole recording.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import torch

from phasen_sb.optimized.folding import Attention, Operation
from phasen_sb.optimized.portable.packing import PACKED

#: Frames are computed in multiples of this.
GRAIN = 16
#: The overhead of each tile, in frames.
TILE_COST = 12

Stream = Callable[[int, torch.Tensor], None]


def choose_tile_size(frames: int, sizes: Sequence[int]) -> int:
    """Chooses the size of tiles, in frames, that costs a recording least.

    Example
    -------
    >>> sizes = (96, 112, 128)
    >>> choose_tile_size(641, sizes), choose_tile_size(9601, sizes)
    (112, 128)
    """

    def cost(size):
        tiles = -(-frames // size)
        return tiles * (size + TILE_COST)

    return min(sizes, key=cost)


class Grid(NamedTuple):
    """The tiles of one recording, and the operations that compute them.

    ``frames`` is the length of the recording, ``tile`` that of a tile.
    """

    frames: int
    tile: int
    operations: ModuleType

    def starts(self) -> range:
        """The first frame of each tile."""
        return range(0, self.frames, self.tile)

    def inside(self, start: int) -> slice:
        """The frames of a tile that are in the recording, rounded up.

        So there are few different sizes, for each of which a library may
        compile kernels, and convolutions can pack frames.
        """
        first = min(max(-start, 0), self.tile) // PACKED * PACKED
        end = min(max(self.frames - start, 0), self.tile)
        frames = -(-max(end - first, 0) // GRAIN) * GRAIN
        return slice(first, min(first + frames, self.tile))

    def read(self, source: Stream, start: int, place: torch.Tensor) -> None:
        """Requests a tile of a stream, unless it is outside the recording."""
        if -self.tile < start < self.frames:
            source(start, place)
        else:
            self.operations.clear(place)

    def clear(self, tile: torch.Tensor, start: int) -> None:
        """Zeroes, in place, the frames of a tile outside the recording."""
        if start < 0:
            self.operations.clear(tile[:, :-start])
        if start + self.tile > self.frames:
            self.operations.clear(tile[:, max(self.frames - start, 0) :])


class Spectrum:
    """A stream of a spectrogram's frames.

    Arguments
    ---------
    grid : Grid
        The tiles.
    spectrogram : torch.Tensor
        ``[T, F, 2]``
    prepare : callable
        Is applied to its frames.
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
    """Views pairs ``[A, B, 2]`` as single numbers ``[A, B]``, copied at once.

    The values of a pair must be adjacent, at an even offset in memory.

    Example
    -------
    >>> as_pairs(torch.randn(257, 64, 2)).shape
    torch.Size([257, 64])
    """
    wide = {2: torch.int32, 4: torch.int64}[x.itemsize]
    return x.view(wide)[..., 0]


class Stored:
    """A stream stored for the whole recording, in tiles ``[F, tile, C]``.

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
        """The memory of a tile, to read or to write."""
        return self.x[start // self.grid.tile]

    def keep(self, start: int) -> None:
        """Stores what was written to the memory of a tile."""

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


class StoredFloat24(Stored):
    """A stream of fp32, stored as 24-bit floats: three quarters of the memory.

    Values have 16 significant bits instead of 24. That changes the network's
    results about as much as another order of summation does.

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
        """Memory to write a tile to, before ``keep``."""
        return self.written

    def keep(self, start: int) -> None:
        """Stores what was written to the memory of a tile."""
        self.grid.operations.to_float24(self.written, super().tile(start))

    def _read(self, frames, place):
        self.grid.operations.from_float24(frames, place)


class Convolution:
    """A convolution of a stream.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many frames as the kernel reaches.
    source : callable
        The stream that it reads.
    conv : Conv
        The convolution of a tile.
    seen : torch.Tensor
        Memory for the frames of the source that the kernel sees,
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
        """Moves on to the tile that starts at a frame ahead."""
        tile, reach, seen = self.grid.tile, self.conv.reach, self.seen
        self.grid.operations.copy(seen[:, tile:], seen[:, : 2 * reach])
        self.grid.read(self.source, start, seen[:, 2 * reach :])


class FrequencyTransform:
    """A frequency transformation block of a stream.

    Arguments
    ---------
    grid : Grid
        The tiles, of at least twice as many frames as the attention reaches.
    source : callable
        The stream that it reads.
    weights : Attention
        Its weights.
    seen : torch.Tensor
        Memory for the frames of the source that it sees,
        ``[F, tile + reach, C]``; the attention reaches half of its taps.
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
        self.seen = seen  # from the first frame of the tile
        self.reach = weights.taps // 2
        # From the first frame that the attention of the tile reaches.
        self.shares = seen.new_zeros(
            grid.tile + 2 * self.reach, weights.shares.count
        )
        self.is_first = True

    def __call__(self, start: int, place: torch.Tensor) -> None:
        tile, reach, seen = self.grid.tile, self.reach, self.seen
        if self.is_first:
            # Memory may hold NaN, which zero weights do not remove.
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
        """Moves on to the tile that starts at a frame ahead."""
        tile, reach, seen = self.grid.tile, self.reach, self.seen
        self.grid.operations.copy(seen[:, tile:], seen[:, :reach])
        ahead, shares = seen[:, reach:], self.shares[2 * reach :]
        self.shares[: 2 * reach] = self.shares[tile:]
        self.grid.read(self.source, start, ahead)
        self.weights.shares(ahead, shares)
        # Frames outside the recording contribute nothing.
        shares[: max(-start, 0)] = 0
        shares[max(self.grid.frames - start, 0) :] = 0
