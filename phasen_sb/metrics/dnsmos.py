"""DNSMOS P.835, a network's prediction of human ratings without a reference.

Reddy et al., "DNSMOS P.835: a non-intrusive perceptual objective speech
quality metric to evaluate noise suppressors", ICASSP 2022,
doi:10.1109/ICASSP43922.2022.9746108. The package ``speechmos`` contains the
published networks; they run offline on the CPU.
"""

from typing import NamedTuple

import numpy as np

from phasen_sb.errors import UserError
from phasen_sb.metrics.checks import as_signal


class DNSMOS(NamedTuple):
    """The predicted ratings, each nominally in [1, 5]."""

    sig: float  #: quality of the speech signal
    bak: float  #: unobtrusiveness of the background
    ovrl: float  #: overall quality


def dnsmos(estimate, sample_rate: int = 16000) -> DNSMOS:
    """DNSMOS P.835 of one signal.

    The networks take 9.01 s at a time; shorter signals are repeated.

    Arguments
    ---------
    estimate : array_like
        The signal to judge, shape [time]; clipped to [-1, 1], as a 16-bit
        file would be.
    sample_rate : int
        In Hz; must be 16000.

    Returns
    -------
    DNSMOS
        SIG, BAK and OVRL.

    Raises
    ------
    UserError
        If the extra ``dnsmos`` is not installed.
    MetricError
        If the signal is silent or not finite.

    Example
    -------
    >>> tone = 0.1 * np.sin(np.arange(32000))
    >>> dnsmos(tone).ovrl < 3  # doctest: +SKIP
    True
    """
    if sample_rate != 16000:
        raise ValueError(f"DNSMOS works at 16000 Hz, not {sample_rate} Hz.")
    samples = np.clip(as_signal(estimate), -1, 1)
    try:
        from speechmos import dnsmos as speechmos
    except ImportError as error:
        raise UserError(
            f"DNSMOS needs the package {error.name}; install it with: "
            'pip install "phasen_sb[dnsmos]".'
        ) from error
    ratings = speechmos.run(samples, sr=sample_rate)
    return DNSMOS(*(float(ratings[f"{k}_mos"]) for k in ("sig", "bak", "ovrl")))
