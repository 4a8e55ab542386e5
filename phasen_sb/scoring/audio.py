"""Reads the files to be scored, at the one rate that all measures share."""

from pathlib import Path

import numpy as np

from phasen_sb.audio.reading import check_whole, open_audio, read_samples
from phasen_sb.audio.resampling import find_rate_problem, resample
from phasen_sb.errors import UserError

SAMPLE_RATE = 16000

# Short-time transforms often return a file a few hundred samples shorter;
# beyond this the files are not the same recording.
LENGTH_TOLERANCE = SAMPLE_RATE // 10


def read_mono(path: Path) -> np.ndarray:
    """Reads a file as :func:`decode_mono` does, at 16 kHz."""
    samples, rate = decode_mono(path)
    if rate == SAMPLE_RATE:
        return samples
    return resample(samples, rate, SAMPLE_RATE).numpy()


def decode_mono(path: Path) -> tuple[np.ndarray, int]:
    """Reads a mono file as it is: samples, ``[time]``, and their rate in Hz.

    Raises UserError if it cannot be decoded or is cut short, has no samples or
    several channels, or a rate that cannot be converted to 16 kHz.
    """
    with open_audio(path) as file:
        samples, rate = read_samples(file, -1), file.samplerate
        if len(samples):
            check_whole(file, len(samples))
    if samples.shape[1] != 1:
        raise UserError(
            f"{path} has {samples.shape[1]} channels; make it mono."
        )
    if samples.shape[0] == 0:
        raise UserError(f"{path} has no samples; write it again or remove it.")
    if problem := find_rate_problem(rate, SAMPLE_RATE):
        raise UserError(f"{path} {problem}.")
    return samples[:, 0], rate


def cut_to_equal_lengths(
    clean: np.ndarray, estimate: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Cuts the longer of two signals if the difference is small.

    Returns both signals, and how many samples were cut.
    """
    difference = abs(clean.size - estimate.size)
    if difference > LENGTH_TOLERANCE:
        return (clean, estimate), 0
    length = min(clean.size, estimate.size)
    return (clean[:length], estimate[:length]), difference
