"""Reads samples in order, and counts what it met."""

from collections.abc import Callable

import numpy as np


class SampleReader:
    """Replaces NaN and infinity by zero, and counts them and all samples.

    Arguments
    ---------
    read : callable
        ``read(n)`` returns the next ``[n, channels]``, fewer only at the end.

    Example
    -------
    >>> wave = iter([np.array([[1.0], [np.nan]]), np.zeros((0, 1))])
    >>> reader = SampleReader(lambda count: next(wave))
    >>> reader(2).tolist(), len(reader(2)), reader.samples, reader.non_finite
    ([[1.0], [0.0]], 0, 2, 1)
    """

    def __init__(self, read: Callable[[int], np.ndarray]):
        self._read = read
        self.samples = 0
        #: Of all channels together.
        self.non_finite = 0

    def __call__(self, count: int) -> np.ndarray:
        """Reads the next ``[count, channels]``, fewer only at the end."""
        block, bad = replace_non_finite(self._read(count))
        self.samples += len(block)
        self.non_finite += bad
        return block


def replace_non_finite(block: np.ndarray) -> tuple[np.ndarray, int]:
    """Replaces NaN and infinity by zero, and counts them."""
    finite = np.isfinite(block)
    if finite.all():
        return block, 0
    return np.where(finite, block, 0.0), int((~finite).sum())
