"""High-pass filters that start quickly.

They are SciPy's. But ``scipy.signal`` takes longer to import than a short
recording takes to enhance: the first samples of a process are filtered in
Python, in the same order of operations.
"""

import sys

import numpy as np

#: Samples (times sections) that Python filters in about the time that the
#: import takes.
_MOST_IN_PYTHON = 2**22
_in_python = 0


class HighPass:
    """A Butterworth filter that keeps its state from block to block.

    Arguments
    ---------
    order : int
        An even number.
    frequency : float
        Where it attenuates by 3 dB (Hz).
    rate : int
        Sample rate (Hz).
    channels : int
        Of the signal.

    Example
    -------
    >>> high_pass = HighPass(2, 80.0, 16000, channels=1)
    >>> noise = np.random.randn(300, 1)
    >>> whole = HighPass(2, 80.0, 16000, channels=1).filter(noise)
    >>> parts = [high_pass.filter(part) for part in np.split(noise, 3)]
    >>> np.array_equal(np.concatenate(parts), whole)
    True
    """

    def __init__(self, order: int, frequency: float, rate: int, channels: int):
        self.sections = design_high_pass(order, frequency, rate)
        self._state = np.zeros((len(self.sections), 2, channels))

    def filter(self, block: np.ndarray) -> np.ndarray:
        """Filters the next ``[samples, channels]``."""
        global _in_python
        work = block.size * len(self.sections)
        if "scipy.signal" in sys.modules or (
            _in_python + work > _MOST_IN_PYTHON
        ):
            from scipy.signal import sosfilt  # slow to import, see above

            block, self._state = sosfilt(self.sections, block, 0, self._state)
            return block
        _in_python += work
        state = self._state.tolist()
        filtered = np.empty(block.shape)
        for channel in range(block.shape[1]):
            samples = block[:, channel].tolist()
            for section, memory in zip(
                self.sections.tolist(), state, strict=True
            ):
                samples, memory[0][channel], memory[1][channel] = _filter(
                    samples, section, memory[0][channel], memory[1][channel]
                )
            filtered[:, channel] = samples
        self._state = np.array(state)
        return filtered


def design_high_pass(order: int, frequency: float, rate: int) -> np.ndarray:
    """Designs a Butterworth filter of even order, as ``scipy.signal.butter``.

    ``frequency`` and ``rate`` are in Hz. Returns its sections, ``[order / 2,
    6]``.

    Example
    -------
    >>> design_high_pass(2, 4000.0, 16000).round(3)
    array([[ 0.293, -0.586,  0.293,  1.   , -0.   ,  0.172]])
    """
    # The bilinear transform of each pair of poles; what rings longest is last.
    x = np.tan(np.pi * frequency / rate)
    damping = 2 * np.cos(np.pi * np.arange(1, order, 2) / (2 * order)) * x
    first = 1 + damping + x**2
    sections = np.array(
        [
            [1, -2, 1, 1, 2 * (x**2 - 1) / a, (1 - d + x**2) / a]
            for a, d in zip(first, damping, strict=True)
        ]
    )
    sections[0, :3] /= first.prod()
    return sections


def _filter(samples, section, first, second):
    """A section, in SciPy's form (direct form II, transposed)."""
    b0, b1, b2, _, a1, a2 = section
    filtered = []
    for x in samples:
        y = b0 * x + first
        first = b1 * x - a1 * y + second
        second = b2 * x - a2 * y
        filtered.append(y)
    return filtered, first, second
