"""Enhances at the model's sample rate what comes at any other.

The enhancer's *change* is what is brought back to the signal's own rate and
added to it. So a model that changes nothing returns its input exactly, at
every rate. Above the model's band, which the network never sees, the signal
follows the gain that the octave below it received: hiss goes down with the
noise, sibilants stay.

Resampling is soxr's (VHQ, linear phase): it takes any integer rate without a
filter bank of that size, and a chunk resampled alone equals the same part of
the whole signal to -290 dB.
"""

from collections.abc import Callable

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

QUALITY = "VHQ"
FRAME_SECONDS = 0.01


def resample(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resamples ``[samples]`` to exactly ``ceil(samples * new / old)``.

    Example
    -------
    >>> resample(np.zeros(1), 44100, 16000).shape
    (1,)
    """
    if rate == new_rate:
        return signal
    samples = -(-len(signal) * new_rate // rate)
    # soxr rounds the length down: give it some silence to cut off again.
    padding = np.zeros(2 + 2 * rate // new_rate)
    padded = np.concatenate([signal, padding])
    return soxr.resample(padded, rate, new_rate, quality=QUALITY)[:samples]


def change_at_rate(
    signal: np.ndarray,
    rate: int,
    model_rate: int,
    change: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Computes what enhancement adds to a signal of any rate.

    Arguments
    ---------
    signal : np.ndarray
        ``[samples]``, float64.
    rate : int
        Its sample rate (Hz).
    model_rate : int
        The enhancer's sample rate (Hz).
    change : callable
        Computes what enhancement adds to ``[samples]`` at the model's rate.

    Returns
    -------
    np.ndarray
        ``[samples]``, to be added to ``signal``.

    Example
    -------
    >>> change_at_rate(np.ones(4), 48000, 16000, lambda low: 0 * low)
    array([0., 0., 0., 0.])
    """
    low = resample(signal, rate, model_rate)
    added = change(low)
    result = resample(added, model_rate, rate)[: len(signal)]
    if rate <= model_rate:
        return result
    above = signal - resample(low, model_rate, rate)[: len(signal)]
    gain = band_gain(low, low + added, model_rate)
    seconds = np.arange(len(signal)) / rate
    centres = (np.arange(len(gain)) + 0.5) * FRAME_SECONDS
    return result + (np.interp(seconds, centres, gain) - 1.0) * above


def band_gain(noisy: np.ndarray, enhanced: np.ndarray, rate: int) -> np.ndarray:
    """Gain of the highest octave, in frames of 10 ms.

    Arguments
    ---------
    noisy : np.ndarray
        ``[samples]``.
    enhanced : np.ndarray
        ``[samples]``.
    rate : int
        Their sample rate (Hz).

    Returns
    -------
    np.ndarray
        One gain for each frame, 0 to 1; 1 where nothing changed.

    Example
    -------
    >>> noise = np.random.randn(800)
    >>> band_gain(noise, 0.5 * noise, 16000)
    array([0.5, 0.5, 0.5, 0.5, 0.5])
    """
    high_pass = butter(4, rate / 4, "highpass", fs=rate, output="sos")
    frame = max(1, round(rate * FRAME_SECONDS))

    def energy(signal):
        squares = sosfilt(high_pass, signal) ** 2
        squares = np.pad(squares, (0, -len(squares) % frame))
        frames = squares.reshape(-1, frame).sum(1)
        return np.convolve(frames, [1, 2, 1])[1:-1]

    before, after = energy(noisy), energy(enhanced)
    ratio = np.divide(after, before, out=np.ones_like(before), where=before > 0)
    return np.sqrt(np.minimum(ratio, 1.0))
