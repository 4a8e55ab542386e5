"""Streams: layers that compute one tile of frames after the other.

A stream is called with the first frame of a tile, with the memory, ``[F, tile,
channels]``, to write the tile to, and with a number of frames at the tile's
beginning that are not needed and may hold anything; tiles are requested in
order. A layer requests from its source the frames ahead that its kernel sees,
and keeps those that it will see again. So nothing is computed twice, and the
data in use stays in the cache. Frames outside the recording are zero, like the
padding of a convolution over the whole recording.

Several threads compute a recording in parts, each with streams of its own,
which a :data:`Source` makes. Where two parts meet, the later one also computes
what its kernels see of the earlier one, and hands over what the kernels of that
one see of itself (:mod:`phasen_sb.optimized.meetings`).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

import torch

from phasen_sb.optimized.folding import Attention, Operation
from phasen_sb.optimized.portable.packing import PACKED

#: The overhead of each tile, and of each part but the first, in frames.
TILE_COST, MEETING_COST = 12, 12
#: Kernels may multiply so many frames of the next bin by zero.
OVERREAD = 32

Stream = Callable[[int, torch.Tensor, int], None]
#: Makes the stream of a part, of which frames beyond it will be requested, too:
#: so many on either side.
Source = Callable[["Part", int], Stream]


def choose_tile_size(
    frames: int, sizes: Sequence[int], threads: int = 1
) -> int:
    """Chooses the size of tiles, in frames, that costs a recording least.

    Example
    -------
    >>> sizes = (56, 60, 64, 68, 72)
    >>> choose_tile_size(641, sizes), choose_tile_size(641, sizes, threads=2)
    (72, 68)
    """

    def cost(size):
        grid = Grid(frames, size, None)
        return max(
            min(part.end, frames)
            - part.begin
            + TILE_COST * len(grid.starts(part))
            + (MEETING_COST if part.begin else 0)
            for part in grid.split(threads)
        )

    return min(sizes, key=cost)


class Part(NamedTuple):
    """The frames of a recording that one thread computes, in whole tiles."""

    begin: int
    end: int


class Grid(NamedTuple):
    """The tiles of one recording, and the operations that compute them.

    ``frames`` is the length of the recording, ``tile`` that of a tile.
    """

    frames: int
    tile: int
    operations: ModuleType

    @property
    def tiles(self) -> int:
        """The number of tiles."""
        return -(-self.frames // self.tile)

    def split(self, count: int) -> list[Part]:
        """Splits the recording into so many parts, or one for each tile.

        Example
        -------
        >>> Grid(641, 64, None).split(2)
        [Part(begin=0, end=320), Part(begin=320, end=704)]
        """
        count = min(count, self.tiles)
        bounds = [self.tiles * i // count * self.tile for i in range(count + 1)]
        return [Part(*pair) for pair in pairwise(bounds)]

    def starts(self, part: Part) -> range:
        """The first frame of each tile of a part."""
        return range(part.begin, part.end, self.tile)

    def inside(self, start: int, skip: int) -> slice:
        """The frames of a tile that are needed, rounded up.

        They are those in the recording behind the first ``skip``. So there are
        few different sizes, for each of which a library may compile kernels,
        and convolutions can pack frames.
        """
        grain = self.operations.GRAIN
        first = min(max(-start, skip), self.tile) // PACKED * PACKED
        end = min(max(self.frames - start, 0), self.tile)
        frames = -(-max(end - first, 0) // grain) * grain
        return slice(first, min(first + frames, self.tile))

    def read(
        self, source: Stream, start: int, place: torch.Tensor, skip: int
    ) -> None:
        """Requests a tile of a stream, unless it is outside the recording."""
        if skip >= self.tile:
            return
        if -self.tile < start < self.frames:
            source(start, place, skip)
        else:
            self.operations.clear(place)

    def fill_skipped(self, tile: torch.Tensor, skip: int) -> None:
        """Zeroes skipped frames that a kernel may multiply by zero.

        They may hold NaN, which would stay NaN.
        """
        if skip:
            self.operations.clear(tile[:, : min(skip, OVERREAD)])

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

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        tile = self.grid.tile
        above = min(max(-start, skip), tile)
        part = self.spectrogram[start + above : max(start + tile, 0)]
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
    computed : Grid
        The tiles up to the last frame that is computed.
    """

    def __init__(
        self,
        grid: Grid,
        source: Stream,
        conv: Operation,
        seen: torch.Tensor,
        computed: Grid,
    ):
        self.grid = grid
        self.computed = computed
        self.source = source
        self.conv = conv
        self.seen = seen
        self.is_first = True

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        reach = self.conv.reach
        if self.is_first:
            behind = self.grid.tile - 2 * reach
            self._look(start + reach - self.grid.tile, behind + skip)
            self.is_first = False
        self._look(start + reach, max(skip - 2 * reach, 0))
        frames = self.computed.inside(start, skip)
        if frames.start < frames.stop:
            around = slice(frames.start, frames.stop + 2 * reach)
            self.grid.fill_skipped(self.seen, skip)
            self.conv(self.seen[:, around], place[:, frames])
        self.computed.clear(place, start)

    def _look(self, start, skip):
        """Moves on to the tile that starts at a frame ahead."""
        tile, reach, seen = self.grid.tile, self.conv.reach, self.seen
        self.grid.operations.copy(seen[:, tile:], seen[:, : 2 * reach])
        self.grid.read(self.source, start, seen[:, 2 * reach :], skip)


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
    computed : Grid
        The tiles up to the last frame that is computed.
    """

    def __init__(
        self,
        grid: Grid,
        source: Stream,
        weights: Attention,
        seen: torch.Tensor,
        computed: Grid,
    ):
        self.grid = grid
        self.computed = computed
        self.source = source
        self.weights = weights
        self.seen = seen  # from the first frame of the tile
        self.reach = weights.taps // 2
        # From the first frame that the attention of the tile reaches.
        self.shares = seen.new_zeros(
            grid.tile + 2 * self.reach, weights.shares.count
        )
        self.is_first = True

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        tile, reach, seen = self.grid.tile, self.reach, self.seen
        if self.is_first:
            # Memory may hold NaN, which zero weights do not remove.
            seen[:, tile:] = 0
            self._look(start + reach - tile, tile - 2 * reach + skip)
            self.is_first = False
        self._look(start + reach, max(skip - 2 * reach, 0))
        frames = self.computed.inside(start, skip)
        if frames.start < frames.stop:
            around = slice(frames.start, frames.stop + 2 * reach)
            self.weights.transform(
                seen[:, frames], self.shares[around], place[:, frames]
            )
        self.computed.clear(place, start)

    def _look(self, start, skip):
        """Moves on to the tile that starts at a frame ahead."""
        tile, reach, seen = self.grid.tile, self.reach, self.seen
        self.grid.operations.copy(seen[:, tile:], seen[:, :reach])
        ahead, shares = seen[:, reach:], self.shares[2 * reach :]
        self.shares[: 2 * reach] = self.shares[tile:]
        if skip >= tile:
            return
        self.grid.read(self.source, start, ahead, skip)
        self.grid.fill_skipped(ahead, skip)
        self.weights.shares(ahead[:, skip:], shares[skip:])
        # Frames outside the recording contribute nothing.
        shares[: max(-start, 0)] = 0
        shares[max(self.grid.frames - start, 0) :] = 0
