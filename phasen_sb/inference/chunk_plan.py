"""Where the chunks of a long signal begin and end."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

#: Most samples of a chunk, all channels together: 64 channels at 192 kHz get
#: shorter chunks than mono speech.
CHUNK_LIMIT = 2**25


@dataclass(frozen=True)
class ChunkPlan:
    """Where chunks begin and end.

    Example
    -------
    >>> list(ChunkPlan(10, 1).ranges(25 * 100, 100))
    [(0, 1100), (900, 2100), (1300, 2500)]
    """

    #: Seconds that each chunk adds to the output.
    step: int = 10
    #: Seconds that a chunk sees beyond its own part, on both sides.
    context: int = 1
    #: Seconds over which one chunk's output fades into the next's, at most
    #: twice the context.
    fade: float = 0.5

    def ranges(self, samples: int, rate: int) -> Iterator[tuple[int, int]]:
        """Yields the first and one past the last sample of each chunk.

        ``rate`` is in Hz. The last chunk begins earlier than its own part
        needs, so that the network does not see a fraction of a second by
        itself.
        """
        start, boundary, ahead = 0, 0, (self.step + self.context) * rate
        while boundary + ahead < samples:
            yield start, boundary + ahead
            boundary += self.step * rate
            start = boundary - self.context * rate
        full = self.step + 2 * self.context
        earliest = max(0, -(-samples // rate) - full) * rate
        yield min(start, earliest), samples

    def limit(self, rate: int, channels: int) -> "ChunkPlan":
        """Shortens chunks where a second has very many samples."""
        seconds = CHUNK_LIMIT // (rate * channels) - 2 * self.context
        return replace(self, step=max(1, min(self.step, seconds)))
