"""Raw PCM on stdin and stdout: 16-bit little-endian samples, one channel."""

import os
import sys

import numpy as np

from phasen_sb.errors import UserError

FULL_SCALE = 2.0**15


class PcmInput:
    """Reads stdin; waits for whoever writes, so nothing is dropped."""

    name = "stdin"
    is_live = False  # nothing is dropped
    latency = 0.0
    overflows = 0
    is_stuck = False

    def __init__(self, rate: int):
        self.rate = rate
        # Python's own buffer would wait until it is full.
        self._descriptor = sys.stdin.fileno()
        self._rest = b""
        self._begins = True
        self.note = ""

    def read(self, count: int) -> np.ndarray | None:
        """Reads up to ``count`` samples, float32; None at the end."""
        data = b""
        while len(data) < 2:
            new = os.read(self._descriptor, 2 * count - len(self._rest))
            if not new:
                if self._begins:
                    raise UserError(
                        "There is nothing on stdin; pipe raw 16-bit PCM in."
                    )
                if self._rest:
                    self.note = "half a sample at the end of stdin was left out"
                return None
            data = self._rest = self._rest + new
        if self._begins and data[:4] in (b"RIFF", b"fLaC", b"OggS"):
            raise UserError(
                "stdin is an audio file, not raw PCM; use phasen enhance -, "
                "or convert it: ffmpeg -i FILE -f s16le -ac 1 -ar RATE -."
            )
        self._begins = False
        even = len(data) // 2 * 2
        self._rest = data[even:]
        return np.frombuffer(data[:even], "<i2").astype("float32") / FULL_SCALE

    def close(self) -> None:
        """Leaves stdin as it is."""


class PcmOutput:
    """Writes stdout; ``is_open`` becomes False when nobody reads any more."""

    name = "stdout"
    latency = 0.0
    underflows = 0
    is_stuck = False

    def __init__(self, rate: int):
        self.rate = rate
        self.is_open = True
        self._descriptor = sys.stdout.fileno()

    def write(self, samples: np.ndarray) -> None:
        """Writes ``[n]``, which clips at full scale."""
        wave = np.rint(samples * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
        data = memoryview(wave.astype("<i2").tobytes())
        while data and self.is_open:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BrokenPipeError:
                self.is_open = False

    def close(self) -> None:
        """Leaves stdout as it is."""
