"""Enhances signals of any sample rate at the model's.

Only the *change* that enhancement makes is resampled to the signal's own rate
and added to it, so a model that changes nothing returns its input exactly, at
every rate. Above the model's band, which the network never sees, the signal
follows the gain of the octave below: hiss goes down with the noise, sibilants
stay.

Resampling is soxr's (VHQ, linear phase): it takes any integer rate without a
filter bank of that size, and a chunk resampled by itself equals the same part
of the whole resampled signal to -290 dB.
"""

from collections.abc import Callable

import numpy as np
import soxr

from phasen_sb.signals.high_pass import HighPass

QUALITY = "VHQ"
FRAME_SECONDS = 0.01


def resample(signal: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Resamples ``[samples]`` to exactly ``ceil(samples * new / old)``."""
    if rate == new_rate:
        return signal
    samples = -(-len(signal) * new_rate // rate)
    # soxr rounds the length down: append some silence, and cut it off again.
    padding = np.zeros(2 + 2 * rate // new_rate)
    padded = np.concatenate([signal, padding])
    return soxr.resample(padded, rate, new_rate, quality=QUALITY)[:samples]


def run_at_model_rate(
    compute_change: Callable[[np.ndarray], np.ndarray],
    signal: np.ndarray,
    rate: int,
    model_rate: int,
) -> np.ndarray:
    """Computes what enhancement adds to a signal of any rate.

    ``compute_change`` does so for ``[samples]`` at the model's rate. Signal and
    result are float64 ``[samples]``, rates in Hz.
    """
    low = resample(signal, rate, model_rate)
    added = compute_change(low)
    result = resample(added, model_rate, rate)[: len(signal)]
    if rate <= model_rate:
        return result
    above = signal - resample(low, model_rate, rate)[: len(signal)]
    gain = highest_octave_gain(low, low + added, model_rate)
    seconds = np.arange(len(signal)) / rate
    centres = (np.arange(len(gain)) + 0.5) * FRAME_SECONDS
    return result + (np.interp(seconds, centres, gain) - 1.0) * above


def highest_octave_gain(
    noisy: np.ndarray, enhanced: np.ndarray, rate: int
) -> np.ndarray:
    """Measures the gain of the highest octave, in frames of 10 ms.

    Both signals are ``[samples]``, with ``rate`` in Hz. Each frame has one
    gain, from 0 to 1; it is 1 where nothing changed.
    """
    frame = max(1, round(rate * FRAME_SECONDS))

    def energy(signal):
        high_pass = HighPass(4, rate / 4, rate, channels=1)
        squares = high_pass.filter(signal[:, None])[:, 0] ** 2
        squares = np.pad(squares, (0, -len(squares) % frame))
        frames = squares.reshape(-1, frame).sum(1)
        return np.convolve(frames, [1, 2, 1])[1:-1]

    before, after = energy(noisy), energy(enhanced)
    ratio = np.divide(after, before, out=np.ones_like(before), where=before > 0)
    return np.sqrt(np.minimum(ratio, 1.0))
