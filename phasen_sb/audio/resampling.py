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
    """Says why audio at ``rate`` cannot be resampled to ``sample_rate`` (Hz).

    The reason is to follow the name of a file; None if it can be resampled.
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
    """Changes the rate (Hz) of a signal, with the filter of :data:`RESAMPLER`.

    The signal is ``[samples]``, float32 or float64, and so is the result, of
    the same type.
    """
    options = {k: v for k, v in RESAMPLER.items() if k != "function"}
    with torch.no_grad():
        return torchaudio.functional.resample(
            torch.from_numpy(samples), rate, sample_rate, **options
        )
