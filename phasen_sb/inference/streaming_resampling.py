"""Resamples a signal that comes block by block, a few milliseconds later.

The filter is torchaudio's. soxr's streams, which are used for files, hold back
20 to 80 ms of sound, too much for live speech.
"""

import math

import numpy as np
import torch
import torchaudio

#: Zero crossings of the filter on either side.
WIDTH = 24
ROLLOFF = 0.99


class StreamingResampler:
    """Resamples ``[samples]`` block by block.

    Together the blocks are what torchaudio gives of the whole signal.

    Arguments
    ---------
    rate : int
        Sample rate of what comes (Hz).
    new_rate : int
        Sample rate of the result (Hz).

    Example
    -------
    >>> wave = np.sin(0.05 * np.arange(4800)).astype("float32")
    >>> stream = StreamingResampler(48000, 16000)
    >>> parts = [stream.process(part) for part in np.split(wave, 10)]
    >>> out = np.concatenate([*parts, stream.finish()])
    >>> len(out), bool(np.abs(out - wave[::3])[50:-50].max() < 1e-3)
    (1600, True)
    """

    def __init__(self, rate: int, new_rate: int):
        divisor = math.gcd(rate, new_rate)
        self._from, self._to = rate // divisor, new_rate // divisor
        self._filter = torchaudio.transforms.Resample(
            rate, new_rate, lowpass_filter_width=WIDTH, rolloff=ROLLOFF
        )
        lowest = min(self._from, self._to) * ROLLOFF
        #: Samples on either side that the filter sees.
        self._reach = math.ceil(WIDTH * self._from / lowest)
        #: How long a sample's result waits for later samples (s).
        self.latency = self._reach / rate
        self._samples = self._done = 0  # that came, that were returned
        # Silence, from a sample on where the result has one, too.
        periods = -(-self._reach // self._from)
        self._start = -periods * self._from
        self._kept = torch.zeros(-self._start)

    def process(self, block: np.ndarray) -> np.ndarray:
        """Takes the next ``[samples]``; returns what is known, float32."""
        self._samples += len(block)
        self._kept = torch.cat([self._kept, torch.from_numpy(block).float()])
        known = self._start + len(self._kept) - self._reach
        return self._take(max(0, known) * self._to // self._from)

    def finish(self) -> np.ndarray:
        """Returns the rest, of which there are ``ceil(samples * new / old)``
        in all."""
        silence = torch.zeros(self._reach + self._from)
        self._kept = torch.cat([self._kept, silence])
        return self._take(-(-self._samples * self._to // self._from))

    def _take(self, stop):
        """Returns the samples before ``stop``, and forgets what they need."""
        first = self._start // self._from * self._to
        out = self._filter(self._kept)[self._done - first : stop - first]
        self._done = max(stop, self._done)
        needed = self._done * self._from // self._to - self._reach
        start = max(self._start, needed // self._from * self._from)
        self._kept = self._kept[start - self._start :].clone()
        self._start = start
        return out.numpy()
