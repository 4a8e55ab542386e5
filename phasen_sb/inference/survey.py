"""What one reading of a recording, before any enhancement, finds out.

The network works on signals of unit level. The level is that of the whole
recording: levels taken chunk by chunk would pump.

Authors
 * The phasen_sb authors 2026
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import soxr

from phasen_sb.inference.resampling import QUALITY

# Below -160 dB of full scale is silence, as in phasen_sb.enhancer.
SILENCE_RMS = 1e-8


@dataclass(frozen=True)
class Survey:
    """Facts about a recording.

    Arguments
    ---------
    samples : int
        Its length.
    levels : np.ndarray
        Root mean square of each channel within the model's band.
    non_finite : int
        Samples that are NaN or infinite, all channels together.
    """

    samples: int
    levels: np.ndarray
    non_finite: int


def survey(
    blocks: Iterable[np.ndarray], channels: int, rate: int, model_rate: int
) -> Survey:
    """Reads a recording once.

    Arguments
    ---------
    blocks : iterable of np.ndarray
        Its consecutive parts, ``[n, channels]``.
    channels : int
        Number of channels.
    rate : int
        Its sample rate (Hz).
    model_rate : int
        The model's (Hz).

    Returns
    -------
    Survey

    Example
    -------
    >>> blocks = [np.full((8, 1), 3.0), np.array([[np.nan], [0.0]])]
    >>> survey(blocks, 1, 16000, 16000)
    Survey(samples=10, levels=array([2.68328157]), non_finite=1)
    """
    resampler = None
    if rate != model_rate:
        resampler = soxr.ResampleStream(
            rate, model_rate, channels, dtype="float64", quality=QUALITY
        )
    squares, count = np.zeros(channels), 0
    samples, non_finite = 0, 0

    def add(block, last=False):
        nonlocal squares, count
        if resampler is not None:
            block = resampler.resample_chunk(block, last=last)
            block = block.reshape(-1, channels)
        squares += np.square(block).sum(0)
        count += len(block)

    for block in blocks:
        samples += len(block)
        block, bad = replace_non_finite(block)
        non_finite += bad
        add(block)
    add(np.zeros((0, channels)), last=True)
    levels = np.sqrt(squares / max(count, 1))
    return Survey(samples, np.maximum(levels, SILENCE_RMS), non_finite)


def replace_non_finite(block: np.ndarray) -> tuple[np.ndarray, int]:
    """Puts zeros in the place of NaN and infinity, and counts them.

    Example
    -------
    >>> replace_non_finite(np.array([1.0, np.inf]))
    (array([1., 0.]), 1)
    """
    finite = np.isfinite(block)
    if finite.all():
        return block, 0
    return np.where(finite, block, 0.0), int((~finite).sum())
