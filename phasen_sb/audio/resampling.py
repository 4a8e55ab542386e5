"""Changes the sample rate of audio that is trained on or scored."""

import math

import numpy as np
import torch
import torchaudio

#: A long Kaiser window: flat to 0.45 of the new rate, aliases below -100 dB.
#: Results differ by resampler, so records of data and of scores name this one.
RESAMPLER = {
    "function": "torchaudio.functional.resample",
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


def find_rate_problem(rate: int, sample_rate: int) -> str | None:
    """Finds out whether audio at one rate can be resampled to another.

    Arguments
    ---------
    rate, sample_rate : int
        The rate of the audio and the wanted one (Hz).

    Returns
    -------
    str or None
        Why it cannot, to follow the name of a file; None if it can.

    Example
    -------
    >>> find_rate_problem(44100, 16000)
    >>> find_rate_problem(44101, 16000)
    'is at 44101 Hz, which has too little in common with 16000 Hz; resample it
    yourself'
    """
    # The filter bank of torchaudio grows with the reduced fraction of the
    # two rates: 44100 Hz to 16000 Hz is 441/160, but 44101 Hz needs 3 GB.
    if max(rate, sample_rate) // math.gcd(rate, sample_rate) <= 2000:
        return None
    return (
        f"is at {rate} Hz, which has too little in common with "
        f"{sample_rate} Hz; resample it yourself"
    )


def resample(samples: np.ndarray, rate: int, sample_rate: int) -> torch.Tensor:
    """Changes the rate of a signal, with the filter of :data:`RESAMPLER`.

    Arguments
    ---------
    samples : np.ndarray
        ``[samples]``, float32 or float64.
    rate, sample_rate : int
        Its rate and the wanted one (Hz).

    Returns
    -------
    torch.Tensor
        ``[samples]``, of the same type.
    """
    options = {k: v for k, v in RESAMPLER.items() if k != "function"}
    with torch.no_grad():
        return torchaudio.functional.resample(
            torch.from_numpy(samples), rate, sample_rate, **options
        )
