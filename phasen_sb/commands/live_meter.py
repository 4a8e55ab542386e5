"""What `phasen live` says while it runs: levels, latency, load, losses."""

import math
import sys
from time import monotonic
from typing import TextIO

import numpy as np

#: Seconds between two states of the meter, and between two warnings.
METER_SECONDS = 0.25
WARNING_SECONDS = 5.0
BEHIND = (
    "This machine does not keep up: a second of sound takes {load:.2f} s to "
    "compute{dropped}; a longer --block takes less, and so does a smaller "
    "model."
)
SLOW_OUTPUT = (
    "The output takes sound more slowly than it comes{dropped}; see what else "
    "uses the device."
)


class LiveMeter:
    """Measures blocks, and shows them on a line if ``out`` is a terminal.

    Arguments
    ---------
    latency : float
        From the microphone to the loudspeaker (ms).
    out : TextIO
        Where to write.

    Example
    -------
    >>> meter = LiveMeter(64.0, sys.stdout)
    >>> meter.add(np.full(160, 0.1), np.full(160, 0.01), 0.01, 0.002, 0)
    >>> meter.describe()
    'in  -20 dB, out  -40 dB, latency 64 ms, load  20 %, dropped 0'
    """

    def __init__(self, latency: float, out: TextIO = sys.stderr):
        self.latency = latency
        self._out = out
        self._is_terminal = out.isatty()
        self._shown = self._warned = -math.inf
        self._warned_drops = 0
        self._load = self._worst = self._heard = self._computed = 0.0
        self._levels = [-math.inf, -math.inf]
        self._reset()
        self.dropped = 0

    def _reset(self):
        self._squares, self._counts = [0.0, 0.0], [0, 0]
        self._seconds = self._busy = 0.0

    def add(
        self,
        before: np.ndarray,
        after: np.ndarray,
        seconds: float,
        busy: float,
        dropped: int,
    ) -> None:
        """Adds a block of so many seconds, which took ``busy`` to compute.

        ``dropped`` is the number of blocks that were dropped so far.
        """
        for i, wave in enumerate((before, after)):
            self._squares[i] += float(np.square(wave, dtype="float64").sum())
            self._counts[i] += len(wave)
        self._seconds += seconds
        self._busy += busy
        self._heard += seconds
        self._computed += busy
        self.dropped = dropped
        if self._seconds >= METER_SECONDS:
            self._update()
            now = monotonic()
            if now - self._shown >= METER_SECONDS:
                self._show()
                self._shown = now
            is_behind = self._load > 1 or self.dropped > self._warned_drops
            if is_behind and now - self._warned >= WARNING_SECONDS:
                self._warn()
                self._warned, self._warned_drops = now, self.dropped

    def _update(self):
        self._load = self._busy / self._seconds
        self._worst = max(self._worst, self._load)
        self._levels = [
            10 * math.log10(max(square / max(count, 1), 1e-12))
            for square, count in zip(self._squares, self._counts, strict=True)
        ]
        self._reset()

    def describe(self) -> str:
        """The state of the last quarter of a second."""
        if self._seconds:
            self._update()
        before, after = self._levels
        return (
            f"in {before:4.0f} dB, out {after:4.0f} dB, latency "
            f"{self.latency:.0f} ms, load {100 * self._load:3.0f} %, dropped "
            f"{self.dropped}"
        )

    def say(self, sentence: str) -> None:
        """Writes a line of its own."""
        clear = "\r\x1b[K" if self._is_terminal else ""
        print(clear + sentence, file=self._out, flush=True)

    def _show(self):
        if self._is_terminal:
            line = "\r\x1b[K" + self.describe()
            print(line, end="", file=self._out, flush=True)

    def _warn(self):
        sentence = BEHIND if self._load > 1 else SLOW_OUTPUT
        dropped = f", and {self.dropped} blocks were dropped so far"
        self.say(
            sentence.format(
                load=self._load, dropped=dropped if self.dropped else ""
            )
        )

    def finish(self, overflows: int, underflows: int, note: str) -> None:
        """Writes the summary.

        So many times a device lost sound, and had none to play; ``note`` is
        what else there is to say.
        """
        load = self._computed / self._heard if self._heard else 0.0
        facts = [
            f"{self._heard:.1f} s of sound",
            f"latency {self.latency:.0f} ms",
            f"load {100 * load:.0f} % (at most {100 * self._worst:.0f} % in "
            f"{METER_SECONDS} s)",
            f"{self.dropped} blocks dropped",
            f"{overflows} gaps in the input" if overflows else "",
            f"{underflows} gaps in the output" if underflows else "",
            note,
        ]
        self.say(", ".join(filter(None, facts)) + ".")
