"""Spectrograms in dB, for pictures."""

import numpy as np


def spectrogram_decibels(
    wave: np.ndarray, sample_rate: int, hop: int | None = None
) -> np.ndarray:
    """Computes a spectrogram of windows of 25 ms.

    Arguments
    ---------
    wave : np.ndarray
        ``[samples]``
    sample_rate : int
        Sample rate (Hz).
    hop : int, optional
        Samples from window to window, which may leave gaps; by default a
        quarter of a window.

    Returns
    -------
    np.ndarray
        Levels (dB), ``[bins, frames]``.

    Example
    -------
    >>> tone = np.sin(2 * np.pi * 4000 * np.arange(16000) / 16000)
    >>> decibels = spectrogram_decibels(tone, 16000)
    >>> decibels.shape, int(decibels[:, 50].argmax())  # bins of 40 Hz
    ((201, 161), 100)
    """
    from scipy.signal import stft  # slow to import; few commands draw

    window = round(0.025 * sample_rate)
    wave = np.pad(wave, (0, max(0, window - len(wave))))
    overlap = window * 3 // 4 if hop is None else window - hop
    _, _, spectrum = stft(wave, sample_rate, nperseg=window, noverlap=overlap)
    return 20 * np.log10(np.abs(spectrum) + 1e-8)
