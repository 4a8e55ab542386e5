"""What threads hand over where their parts of a recording meet.

The kernels of a layer see frames of the next part. That part begins with them,
so its thread has computed them by then, or soon will, and keeps a copy.
"""

from threading import Event

import torch

from phasen_sb.optimized.streams import Grid, Part, Stream
from phasen_sb.optimized.threads import Workers

#: Seconds between two looks whether the thread that is waited for failed.
PATIENCE = 0.05


class Meeting:
    """The first frames of a part, of one layer, for the part before it.

    Arguments
    ---------
    grid : Grid
        The tiles.
    first : int
        The first frame of the part.
    place : torch.Tensor
        Memory for the frames, ``[F, frames, C]``.
    workers : Workers
        The threads.

    Example
    -------
    >>> from phasen_sb.optimized.portable import operations
    >>> with Workers(most=2) as workers:
    ...     meeting = Meeting(
    ...         Grid(64, 16, operations), 32, torch.empty(17, 3, 2), workers
    ...     )
    ...     meeting.keep(32, torch.ones(17, 16, 2), 0)
    ...     tile = torch.zeros(17, 16, 2)
    ...     meeting.fill(24, tile)
    >>> tile[0, :, 0].nonzero().flatten()  # frames 32 to 34
    tensor([ 8,  9, 10])
    """

    def __init__(
        self, grid: Grid, first: int, place: torch.Tensor, workers: Workers
    ):
        self.grid = grid
        self.first = first
        self.place = place
        self.workers = workers
        self.complete = Event()

    def _find(self, start, skip):
        """Finds a tile's frames, here and in the tile."""
        end = self.first + self.place.shape[1]
        first = max(start + skip, self.first)
        last = max(min(start + self.grid.tile, end), first)
        here = self.place[:, first - self.first : last - self.first]
        return here, slice(first - start, last - start)

    def keep(self, start: int, tile: torch.Tensor, skip: int) -> None:
        """Copies what a tile has of the frames, but for its first ``skip``."""
        here, there = self._find(start, skip)
        if not here.shape[1]:
            return
        self.grid.operations.copy(tile[:, there], here)
        if there.stop + start == self.first + self.place.shape[1]:
            self.complete.set()

    def fill(self, start: int, tile: torch.Tensor, skip: int = 0) -> None:
        """Copies the frames to a tile, when they are complete."""
        here, there = self._find(start, skip)
        if not here.shape[1]:
            return
        while not self.complete.wait(PATIENCE):
            if self.workers.failed:
                return  # no result will be used
        self.grid.operations.copy(here, tile[:, there])


class MeetingStream:
    """A stream of a part that hands frames over at its ends.

    Arguments
    ---------
    stream : callable
        Computes the frames of the part, and zeros for those behind it.
    before : Meeting, optional
        With the part before this one, if there is one.
    after : Meeting, optional
        With the next part.
    """

    def __init__(
        self, stream: Stream, before: Meeting | None, after: Meeting | None
    ):
        self.stream = stream
        self.before = before
        self.after = after

    def __call__(self, start: int, place: torch.Tensor, skip: int) -> None:
        self.stream(start, place, skip)
        if self.after is not None:
            self.after.fill(start, place, skip)
        if self.before is not None:
            self.before.keep(start, place, skip)


class Meetings:
    """The meetings of the parts of a recording, for one layer.

    Arguments
    ---------
    grid : Grid
        The tiles.
    workers : Workers
        The threads.
    bins : int
        Frequency bins, F.
    channels : int
        Channels, C, of the layer's output.
    dtype : torch.dtype
        Of the tiles.
    """

    def __init__(
        self,
        grid: Grid,
        workers: Workers,
        bins: int,
        channels: int,
        dtype: torch.dtype,
    ):
        self.grid = grid
        self.workers = workers
        self.shape = bins, channels
        self.dtype = dtype
        self.meetings: dict[int, Meeting] = {}

    def grid_of(self, part: Part) -> Grid:
        """The tiles of a part: those behind it are for the next one."""
        return self.grid._replace(frames=min(self.grid.frames, part.end))

    def join(self, stream: Stream, part: Part, reach: int) -> Stream:
        """Lets a part's stream take what lies behind the part from the next.

        ``reach`` is the number of frames that will be requested there.
        """
        if not reach:
            return stream
        last = self.grid.tiles * self.grid.tile
        return MeetingStream(
            stream,
            self._at(part.begin, reach) if part.begin else None,
            self._at(part.end, reach) if part.end < last else None,
        )

    def _at(self, frame, reach):
        if frame not in self.meetings:
            bins, channels = self.shape
            # Those behind the recording are zero, and never requested.
            reach = min(reach, self.grid.frames - frame)
            shape = bins, reach, channels
            place = self.grid.operations.empty_tile(shape, self.dtype)
            self.meetings[frame] = Meeting(
                self.grid, frame, place, self.workers
            )
        return self.meetings[frame]
