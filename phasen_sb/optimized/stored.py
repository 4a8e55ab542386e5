"""Streams that are stored for a whole recording.

Threads read and write parts of one. A part may be overwritten while its stream
is read, behind the frames that were read; so those of its neighbours that it
will read are copied before.
"""

import torch

from phasen_sb.optimized.streams import Grid, Part


class Stored:
    """Memory for a stream, in tiles ``[F, tile, C]``, and a source of it.

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

    Example
    -------
    >>> from phasen_sb.optimized.portable import operations
    >>> grid = Grid(30, 16, operations)
    >>> stored = Stored(grid, 257, 24, torch.float32)
    >>> stored.x.shape
    torch.Size([2, 257, 16, 24])
    """

    def __init__(
        self, grid: Grid, bins: int, channels: int, dtype: torch.dtype
    ):
        self.grid = grid
        self.channels = channels
        self.x = grid.operations.empty_tile(
            (grid.tiles, bins, grid.tile, channels), dtype
        )

    def __call__(self, part: Part, reach: int) -> "StoredPart":
        """Makes the stream of a part."""
        return StoredPart(self, part, reach)

    def memory(self, part: Part) -> torch.Tensor:
        """The memory of a part's tiles."""
        return self.x[part.begin // self.grid.tile : part.end // self.grid.tile]


class StoredPart:
    """A part of a stored stream, to read and to write.

    Arguments
    ---------
    stored : Stored
        The stream.
    part : Part
        The part.
    reach : int
        Frames on either side of the part that are read, too, as they are now.
    """

    def __init__(self, stored: Stored, part: Part, reach: int):
        self.grid = stored.grid
        self.x = stored.x
        self.guards = {}
        self._guard(part.begin - reach, part.begin)
        self._guard(part.end, part.end + reach)

    def _guard(self, first, last):
        tile = self.grid.tile
        last = min(last, len(self.x) * tile)
        for index in range(max(first, 0) // tile, -(-last // tile)):
            inside = slice(max(first - index * tile, 0), last - index * tile)
            self.guards[index] = torch.empty_like(self.x[index])
            self.guards[index][:, inside] = self.x[index][:, inside]

    def tile(self, start: int) -> torch.Tensor:
        """The memory of a tile, to read or to write."""
        return self.x[start // self.grid.tile]

    def keep(self, start: int) -> None:
        """Stores what was written to the memory of a tile."""

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        tile = self.grid.tile
        index, offset = divmod(start, tile)
        self._copy(index, offset + skip, tile, place[:, skip : tile - offset])
        skip = max(skip - (tile - offset), 0)
        self._copy(index + 1, skip, offset, place[:, tile - offset + skip :])

    def _copy(self, index, first, last, place):
        if first >= last:
            return
        if 0 <= index < len(self.x):
            memory = self.guards.get(index, self.x[index])
            self._read(memory[:, first:last], place)
        else:
            self.grid.operations.clear(place)

    def _read(self, frames, place):
        self.grid.operations.copy(frames, place)


class StoredFloat24(Stored):
    """A stream of fp32, stored as 24-bit floats: three quarters of the memory.

    Values have 16 significant bits instead of 24. That changes the network's
    results about as much as another order of summation does. Arguments are
    those of :class:`phasen_sb.optimized.stored.Stored`, but for the type.
    """

    def __init__(self, grid: Grid, bins: int, channels: int):
        super().__init__(grid, bins, 3 * channels, torch.uint8)
        self.channels = channels

    def __call__(self, part: Part, reach: int) -> "StoredPart":
        """Makes the stream of a part."""
        return Float24Part(self, part, reach)


class Float24Part(StoredPart):
    """A part of a stream of 24-bit floats.

    Arguments are those of :class:`phasen_sb.optimized.stored.StoredPart`.
    """

    def __init__(self, stored: StoredFloat24, part: Part, reach: int):
        super().__init__(stored, part, reach)
        shape = self.x.shape[1], self.grid.tile, stored.channels
        self.written = self.grid.operations.empty_tile(shape, torch.float32)

    def tile(self, start: int) -> torch.Tensor:
        """Memory to write a tile to, before ``keep``."""
        return self.written

    def keep(self, start: int) -> None:
        """Stores what was written to the memory of a tile."""
        self.grid.operations.to_float24(self.written, super().tile(start))

    def _read(self, frames, place):
        self.grid.operations.from_float24(frames, place)
