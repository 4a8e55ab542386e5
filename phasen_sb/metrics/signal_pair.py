"""Two signals, and those of their measures that others are made of."""

from collections.abc import Callable
from typing import Any


class SignalPair:
    """A clean signal and its estimate, each measure of which is computed once.

    Several composite measures are made of PESQ and of the same distances. Both
    signals are ``[time]``, their rate is in Hz.
    """

    def __init__(self, clean, estimate, sample_rate: int):
        self.clean = clean
        self.estimate = estimate
        self.sample_rate = sample_rate
        self._known: dict[tuple, Any] = {}

    def measure(self, function: Callable, *options) -> Any:
        """Computes a measure, or returns what an earlier call computed.

        The function takes the clean signal, the estimate, the sample rate and
        the options.
        """
        key = (function, *options)
        if key not in self._known:
            self._known[key] = function(
                self.clean, self.estimate, self.sample_rate, *options
            )
        return self._known[key]
