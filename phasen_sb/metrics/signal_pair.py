"""Two signals, and those of their measures that others are made of."""

from collections.abc import Callable
from typing import Any


class SignalPair:
    """A clean signal and its estimate, each measure of which is computed once.

    Several composite measures are made of PESQ and of the same distances.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].
    sample_rate : int
        In Hz.

    Example
    -------
    >>> from phasen_sb.metrics import segmental_snr
    >>> pair = SignalPair([1.0] * 1000, [1.0] * 1000, 16000)
    >>> pair.measure(segmental_snr, False)
    35.0
    """

    def __init__(self, clean, estimate, sample_rate: int):
        self.clean = clean
        self.estimate = estimate
        self.sample_rate = sample_rate
        self._known: dict[tuple, Any] = {}

    def measure(self, function: Callable, *options) -> Any:
        """Computes a measure, or returns what an earlier call computed.

        Arguments
        ---------
        function : callable
            Takes the clean signal, the estimate, the sample rate and options.
        *options
            For ``function``.

        Returns
        -------
        What ``function`` returns.
        """
        key = (function, *options)
        if key not in self._known:
            self._known[key] = function(
                self.clean, self.estimate, self.sample_rate, *options
            )
        return self._known[key]
