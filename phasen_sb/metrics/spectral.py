"""Distances between short-time spectra: log-likelihood ratio and weighted
spectral slope.

Both average the best 95 % of the frames, as the composite measures
require; Hu and Loizou, "Evaluation of objective quality measures for
speech enhancement", IEEE TASLP 2008, doi:10.1109/TASL.2007.911054.
"""

import functools

import numpy as np

from phasen_sb.metrics.checks import as_pair
from phasen_sb.metrics.frames import windowed_frames

KEPT_FRAMES = 0.95
SIXTEEN_BIT = 1 / 32768

# Centres and widths in Hz of the 25 critical bands up to 4 kHz, Quackenbush,
# Barnwell and Clements, "Objective Measures of Speech Quality", 1988.
BAND_CENTRES = np.array(
    [50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717]
    + [904.128, 1020.38, 1148.30, 1288.72, 1442.54, 1610.70, 1794.16]
    + [1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63]
)
BAND_WIDTHS = np.array(
    [70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411]
    + [116.256, 127.914, 140.423, 153.823, 168.154, 183.457, 199.776]
    + [217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136]
)


def _mean_of_best(distances: np.ndarray) -> float:
    kept = max(1, round(distances.size * KEPT_FRAMES))
    return float(np.sort(distances)[:kept].mean())


def _autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    length = frames.shape[1]
    return np.stack(
        [
            np.einsum("tn,tn->t", frames[:, : length - k], frames[:, k:])
            for k in range(order + 1)
        ],
        axis=1,
    )


def _prediction_filter(autocorrelation: np.ndarray) -> np.ndarray:
    """Levinson-Durbin recursion over all frames at once.

    Shape [frames, order + 1] to the same; a frame without energy gets the
    filter 1, 0, 0, ...
    """
    filters = np.zeros_like(autocorrelation)
    filters[:, 0] = 1
    error = autocorrelation[:, 0].copy()
    for i in range(1, autocorrelation.shape[1]):
        residue = np.einsum(
            "tk,tk->t", filters[:, :i], autocorrelation[:, i:0:-1]
        )
        reflection = -np.divide(
            residue, error, out=np.zeros_like(error), where=error > 0
        )
        filters[:, : i + 1] += (
            reflection[:, None] * filters[:, : i + 1][:, ::-1]
        )
        error *= 1 - reflection**2
    return filters


def _filtered_energy(
    filters: np.ndarray, autocorrelation: np.ndarray
) -> np.ndarray:
    """Energy of each frame after its filter, a' R a with a Toeplitz R."""
    lags = np.arange(filters.shape[1])
    toeplitz = autocorrelation[:, np.abs(lags[:, None] - lags)]
    return np.einsum(
        "ti,ti->t", np.einsum("tij,tj->ti", toeplitz, filters), filters
    )


def llr(clean, estimate, sample_rate: int = 16000) -> float:
    """Log-likelihood ratio between linear prediction models of the frames.

    The order is 16, below 10 kHz 10. Frames in which the clean signal is
    digital silence count as 0, since their ratio is not defined.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time].
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        0 for equal spectra; not limited to 2, which is usual outside the
        composite measures.

    Raises
    ------
    MetricError
        If the signals are silent, not finite, too short or of different
        lengths.

    Example
    -------
    >>> clean = np.random.default_rng(0).normal(size=16000)
    >>> llr(clean, 0.5 * clean)
    0.0
    """
    clean, estimate = as_pair(clean, estimate)
    order = 10 if sample_rate < 10000 else 16
    reference = _autocorrelation(windowed_frames(clean, sample_rate), order)
    judged = _autocorrelation(windowed_frames(estimate, sample_rate), order)
    numerator = _filtered_energy(_prediction_filter(judged), reference)
    denominator = _filtered_energy(_prediction_filter(reference), reference)
    ratio = np.divide(
        numerator,
        denominator,
        out=np.ones_like(numerator),
        where=(denominator > 0) & (numerator > 0),
    )
    return _mean_of_best(np.log(ratio))


@functools.lru_cache(maxsize=8)
def _critical_bands(sample_rate: int, bins: int) -> np.ndarray:
    """Gaussian filters on the lower FFT bins, shape [bands, bins]."""
    bins_per_hz = bins / (sample_rate // 2)
    centres = np.floor(BAND_CENTRES * bins_per_hz)[:, None]
    widths = (BAND_WIDTHS * bins_per_hz)[:, None]
    gains = np.exp(-11 * ((np.arange(bins) - centres) / widths) ** 2)
    gains *= BAND_WIDTHS[0] / BAND_WIDTHS[:, None]
    gains[gains <= np.exp(-30 / (2 * 2.303))] = 0
    return gains


def _band_levels(
    signal: np.ndarray, sample_rate: int, amplitude: float
) -> np.ndarray:
    """Levels of the critical bands in dB, shape [frames, bands]."""
    frames = windowed_frames(signal * amplitude, sample_rate)
    size = 1 << (2 * frames.shape[1] - 1).bit_length()
    power = np.abs(np.fft.rfft(frames, size)[:, : size // 2]) ** 2
    energy = power @ _critical_bands(sample_rate, size // 2).T
    return 10 * np.log10(np.maximum(energy, 1e-10))


def _nearest_peaks(levels: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Level near the spectral peak that each slope leads to.

    A rising slope is followed up to the last rising band, a falling one down
    to the left to where the fall began. (The level taken for a rising slope
    is that of the band before the peak; the published programs do so.)
    """
    rising = slopes > 0
    count = slopes.shape[1]
    following = np.full(slopes.shape, count)
    for band in range(count - 1, -1, -1):
        after = following[:, band + 1] if band + 1 < count else count
        following[:, band] = np.where(rising[:, band], after, band)
    preceding = np.full(slopes.shape, -1)
    for band in range(count):
        before = preceding[:, band - 1] if band else -1
        preceding[:, band] = np.where(rising[:, band], band, before)
    return np.take_along_axis(
        levels, np.where(rising, following - 1, preceding + 1), axis=1
    )


def _weights(levels: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Klatt's weights: large near the global and the local peak."""
    below_maximum = levels.max(axis=1, keepdims=True) - levels[:, :-1]
    below_peak = _nearest_peaks(levels, slopes) - levels[:, :-1]
    return 20 / (20 + below_maximum) / (1 + below_peak)


def wss(
    clean, estimate, sample_rate: int = 16000, amplitude: float = SIXTEEN_BIT
) -> float:
    """Weighted spectral slope distance of 25 critical bands up to 4 kHz.

    Klatt, "Prediction of perceived phonetic distance from critical-band
    spectra: a first step", ICASSP 1982, doi:10.1109/ICASSP.1982.1171512.

    Arguments
    ---------
    clean, estimate : array_like
        The reference and the signal to judge, shape [time], in [-1, 1].
    sample_rate : int
        In Hz.
    amplitude : float
        What both signals are multiplied by. It matters, because band energies
        are floored at 1e-10, see :mod:`phasen_sb.metrics.composite`.

    Returns
    -------
    float
        0 for equal spectra.

    Raises
    ------
    MetricError
        If the signals are silent, not finite, too short or of different
        lengths.

    Example
    -------
    >>> clean = np.random.default_rng(0).normal(size=16000)
    >>> wss(clean, clean)
    0.0
    """
    clean, estimate = as_pair(clean, estimate)
    reference = _band_levels(clean, sample_rate, amplitude)
    judged = _band_levels(estimate, sample_rate, amplitude)
    slopes, judged_slopes = np.diff(reference), np.diff(judged)
    weights = (
        _weights(reference, slopes) + _weights(judged, judged_slopes)
    ) / 2
    distances = np.sum(weights * (slopes - judged_slopes) ** 2, axis=1)
    return _mean_of_best(distances / weights.sum(axis=1))
