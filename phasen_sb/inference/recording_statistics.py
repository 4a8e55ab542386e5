"""What a first pass over a recording measures, before any enhancement."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import soxr

from phasen_sb.inference.excerpts import ExcerptCollector
from phasen_sb.inference.model_rate import QUALITY
from phasen_sb.inference.sample_reader import replace_non_finite
from phasen_sb.inference.speech_level import SpeechLevelMeter, SpeechLevels

#: Of longer recordings 40 to 80 excerpts, 10 to 20 s in all, are kept. Many
#: short ones represent the whole better than a few long ones.
EXCERPT_SECONDS = 0.25
EXCERPT_LIMIT = 80


@dataclass(frozen=True)
class RecordingStatistics:
    """What the enhancement of a recording needs to know beforehand."""

    samples: int
    #: Within the model's band.
    levels: SpeechLevels
    #: Evenly spaced ones at the model's rate, ``[excerpts, n, channels]``.
    excerpts: np.ndarray
    #: Samples from the start of one excerpt to that of the next.
    excerpt_spacing: int


def measure_recording(
    blocks: Iterable[np.ndarray], channels: int, rate: int, model_rate: int
) -> RecordingStatistics:
    """Reads a recording once and measures it.

    ``blocks`` are its consecutive parts ``[n, channels]``; rates are in Hz.

    Example
    -------
    >>> blocks = [np.full((8, 1), 3.0), np.array([[np.nan], [0.0]])]
    >>> statistics = measure_recording(blocks, 1, 16000, 16000)
    >>> statistics.samples, statistics.levels.mean
    (10, array([2.4]))
    """
    resampler = None
    if rate != model_rate:
        resampler = soxr.ResampleStream(
            rate, model_rate, channels, dtype="float64", quality=QUALITY
        )
    meter = SpeechLevelMeter(model_rate, channels)
    excerpts = ExcerptCollector(
        round(EXCERPT_SECONDS * model_rate), EXCERPT_LIMIT
    )
    samples = 0

    def add(block, last=False):
        if resampler is not None:
            block = resampler.resample_chunk(block, last=last)
            block = block.reshape(-1, channels)
        meter.add(block)
        excerpts.add(block)

    for block in blocks:
        samples += len(block)
        add(replace_non_finite(block)[0])
    add(np.zeros((0, channels)), last=True)
    return RecordingStatistics(
        samples,
        meter.finish(),
        excerpts.stack(),
        excerpts.spacing,
    )
