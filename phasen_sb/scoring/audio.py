"""Reads the files to be scored, at the one rate that all measures share."""

import math
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio

from phasen_sb.audio.resampling import RESAMPLER
from phasen_sb.errors import UserError

SAMPLE_RATE = 16000

# Short-time transforms often return a file a few hundred samples shorter;
# beyond this the files are not the same recording.
LENGTH_TOLERANCE = SAMPLE_RATE // 10

# The filter for two rates with a smaller common divisor fills the memory.
LEAST_COMMON_RATE = 10


def read_mono(path: Path) -> np.ndarray:
    """Reads a mono file, resampled to 16 kHz if it has another rate.

    Arguments
    ---------
    path : Path
        Any format that libsndfile reads.

    Returns
    -------
    np.ndarray
        Shape [time].

    Raises
    ------
    UserError
        If the file cannot be decoded, has no samples or several channels.
    """
    samples, rate = decode_mono(path)
    if rate == SAMPLE_RATE:
        return samples
    options = {k: v for k, v in RESAMPLER.items() if k != "function"}
    return torchaudio.functional.resample(
        torch.from_numpy(samples), rate, SAMPLE_RATE, **options
    ).numpy()


def decode_mono(path: Path) -> tuple[np.ndarray, int]:
    """Reads a mono file as it is.

    Arguments
    ---------
    path : Path
        Any format that libsndfile reads.

    Returns
    -------
    tuple
        Samples of shape [time], and their rate in Hz.

    Raises
    ------
    UserError
        If the file cannot be decoded, has no samples or several channels, or
        a rate that cannot be converted to 16 kHz.
    """
    try:
        samples, rate = sf.read(path, always_2d=True)
    except (sf.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        raise UserError(
            f"{path} cannot be decoded ({reason.strip().rstrip('.')}); write "
            "it anew, or remove it."
        ) from error
    if samples.shape[1] != 1:
        raise UserError(
            f"{path} has {samples.shape[1]} channels; make it mono."
        )
    if samples.shape[0] == 0:
        raise UserError(f"{path} has no samples; write it anew, or remove it.")
    if math.gcd(rate, SAMPLE_RATE) < LEAST_COMMON_RATE:
        raise UserError(
            f"{path} has the odd sample rate {rate} Hz; resample it to "
            f"{SAMPLE_RATE} Hz yourself."
        )
    return samples[:, 0], rate


def equal_lengths(
    clean: np.ndarray, estimate: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Cuts the longer of two signals if the difference is small.

    Arguments
    ---------
    clean : np.ndarray
        The reference, shape [time].
    estimate : np.ndarray
        The signal to judge, shape [time].

    Returns
    -------
    tuple
        Both signals, and how many samples were cut.

    Example
    -------
    >>> (clean, estimate), cut = equal_lengths(np.ones(160), np.ones(150))
    >>> clean.size, estimate.size, cut
    (150, 150, 10)
    """
    difference = abs(clean.size - estimate.size)
    if difference > LENGTH_TOLERANCE:
        return (clean, estimate), 0
    length = min(clean.size, estimate.size)
    return (clean[:length], estimate[:length]), difference
