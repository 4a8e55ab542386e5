"""Signal-to-noise ratios: overall, scale-invariant and segmental."""

import numpy as np

from phasen_sb.metrics.checks import as_pair
from phasen_sb.metrics.frames import windowed_frames

SSNR_LIMITS_DB = (-10.0, 35.0)


def _decibels(signal_energy: float, noise_energy: float) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.divide(signal_energy, noise_energy)))


def snr(clean, estimate) -> float:
    """Signal-to-noise ratio, 10 log10(|s|^2 / |s - e|^2).

    Arguments
    ---------
    clean, estimate : array_like
        The reference s and the signal e to judge, shape [time].

    Returns
    -------
    float
        In dB; infinite if both are equal.

    Raises
    ------
    MetricError
        If the signals are silent, not finite or of different lengths.

    Example
    -------
    >>> snr([3.0, 0.0], [3.0, 0.3])
    20.0
    """
    clean, estimate = as_pair(clean, estimate)
    return _decibels(np.sum(clean**2), np.sum((clean - estimate) ** 2))


def si_sdr(clean, estimate) -> float:
    """Scale-invariant signal-to-distortion ratio.

    The estimate is split into its projection on the clean signal and the
    rest, and their energies are compared; neither mean is removed. Le Roux
    et al., "SDR - half-baked or well done?", ICASSP 2019,
    doi:10.1109/ICASSP.2019.8683855.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].

    Returns
    -------
    float
        In dB; infinite if the estimate is a scaled copy of the reference.

    Raises
    ------
    MetricError
        If the signals are silent, not finite or of different lengths.

    Example
    -------
    >>> clean, noise = np.array([1.0, 1.0]), np.array([1.0, -1.0])
    >>> round(si_sdr(clean, 0.3 * (clean + 0.1 * noise)), 6)
    20.0
    """
    clean, estimate = as_pair(clean, estimate)
    target = clean * (np.dot(estimate, clean) / np.dot(clean, clean))
    return _decibels(np.sum(target**2), np.sum((estimate - target) ** 2))


def segmental_snr(
    clean, estimate, sample_rate: int = 16000, rescale: bool = False
) -> float:
    """Mean of the SNRs of 30 ms frames, each clamped to [-10, 35] dB.

    Hansen and Pellom, "An effective quality evaluation protocol for speech
    enhancement algorithms", ICSLP 1998.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].
    sample_rate : int
        In Hz.
    rescale : bool
        Whether to remove the mean of both signals and to scale the estimate
        to the peak of the reference first, see
        :mod:`phasen_sb.metrics.composite`.

    Returns
    -------
    float
        In dB.

    Raises
    ------
    MetricError
        If the signals are silent, not finite, too short or of different
        lengths.

    Example
    -------
    >>> clean = np.sin(np.arange(16000))
    >>> segmental_snr(clean, clean)
    35.0
    """
    clean, estimate = as_pair(clean, estimate)
    if rescale:
        clean -= clean.mean()
        estimate -= estimate.mean()
        # A constant signal is silent once its mean is gone.
        clean, estimate = as_pair(clean, estimate)
        estimate *= np.abs(clean).max() / np.abs(estimate).max()
    # The published programs guard their quotients with these two constants.
    tiny = 1e-10 if rescale else np.finfo(np.float64).eps
    signal = np.sum(windowed_frames(clean, sample_rate) ** 2, axis=1)
    noise = np.sum(windowed_frames(clean - estimate, sample_rate) ** 2, axis=1)
    decibels = 10 * np.log10(signal / (noise + tiny) + tiny)
    return float(np.clip(decibels, *SSNR_LIMITS_DB).mean())
