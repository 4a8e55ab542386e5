"""What every measure requires of its signals, and the error otherwise."""

import numpy as np

SILENT = "silent"
NO_SPEECH = "no speech"
TOO_SHORT = "too short"
NOT_FINITE = "NaN or infinite samples"
LENGTHS_DIFFER = "different lengths"
UNDEFINED = "no finite score"
TIME_LIMIT = "time limit exceeded"
WORKER_DIED = "worker died"
OTHER = "other error"


class MetricError(ValueError):
    """A measure that has no meaningful value for these signals.

    Arguments
    ---------
    reason : str
        The kind of failure, one of the constants of this module; failures
        are counted by it.
    detail : str
        What exactly was wrong.

    Example
    -------
    >>> error = MetricError(SILENT, "the estimate has only zeros")
    >>> error.reason, str(error)
    ('silent', 'silent: the estimate has only zeros')
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def as_signal(samples, name: str = "estimate") -> np.ndarray:
    """Copies one channel of samples, ``[time]``, to float64 to be measured.

    Raises ValueError if there is more than one axis, and MetricError if there
    are no samples, only zeros, NaN or infinite samples; ``name`` is what errors
    call the signal.
    """
    signal = np.array(samples, dtype=np.float64)
    if signal.ndim != 1:
        raise ValueError(
            f"The {name} has shape {signal.shape}; measures take one channel "
            "of shape [time]."
        )
    if signal.size == 0:
        raise MetricError(TOO_SHORT, f"the {name} has no samples")
    if not np.isfinite(signal).all():
        raise MetricError(NOT_FINITE, f"the {name} has NaN or infinite samples")
    if not signal.any():
        raise MetricError(SILENT, f"the {name} has only zeros")
    return signal


def as_pair(clean, estimate) -> tuple[np.ndarray, np.ndarray]:
    """Copies two signals that are to be compared, see :func:`as_signal`.

    Also raises MetricError if their lengths differ.

    Example
    -------
    >>> as_pair([0.1, 0.2], [0.1])
    Traceback (most recent call last):
    ...
    phasen_sb.metrics.checks.MetricError: different lengths: the clean signal
    has 2 samples, the estimate 1
    """
    clean, estimate = as_signal(clean, "clean signal"), as_signal(estimate)
    if clean.size != estimate.size:
        raise MetricError(
            LENGTHS_DIFFER,
            f"the clean signal has {clean.size} samples, the estimate "
            f"{estimate.size}",
        )
    return clean, estimate
