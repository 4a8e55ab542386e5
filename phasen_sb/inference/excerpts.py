"""Evenly spaced excerpts of a signal whose length is not known beforehand."""

import numpy as np


class ExcerptCollector:
    """Keeps evenly spaced excerpts of a signal that comes block by block.

    An excerpt has ``length`` samples. Memory is bounded: whenever there are
    more than ``limit`` excerpts, every second one is dropped, and from then on
    every second one that comes. Of a long signal at least half of ``limit``
    are kept.

    Example
    -------
    >>> excerpts = ExcerptCollector(length=2, limit=3)
    >>> excerpts.add(np.arange(7)[:, None])
    >>> excerpts.add(np.arange(7, 17)[:, None])
    >>> excerpts.stack()[..., 0]
    array([[0., 1.],
           [8., 9.]], dtype=float32)
    """

    def __init__(self, length: int, limit: int):
        self.length = length
        self.limit = limit
        self._every = 1
        self._count = 0
        self._excerpts = []
        self._rest = None

    @property
    def spacing(self) -> int:
        """Samples from the start of one excerpt to that of the next."""
        return self._every * self.length

    def add(self, block: np.ndarray) -> None:
        """Takes the next ``[n, channels]``; excerpts are kept in fp32."""
        if self._rest is not None:
            block = np.concatenate([self._rest, block])
        whole = len(block) // self.length
        for i in range(whole):
            if self._count % self._every == 0:
                excerpt = block[i * self.length : (i + 1) * self.length]
                self._excerpts.append(excerpt.astype(np.float32))
                if len(self._excerpts) > self.limit:
                    self._excerpts = self._excerpts[::2]
                    self._every *= 2
            self._count += 1
        self._rest = block[whole * self.length :]

    def stack(self) -> np.ndarray:
        """Returns the excerpts, ``[excerpts, length, channels]``.

        A signal shorter than an excerpt has none.
        """
        if not self._excerpts:
            channels = 1 if self._rest is None else self._rest.shape[1]
            return np.zeros((0, self.length, channels), np.float32)
        return np.stack(self._excerpts)
