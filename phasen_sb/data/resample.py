"""Resamples files into a cache that outlives interrupted runs.

Authors
 * The phasen_sb authors 2026
"""

import hashlib
import io
import json
import math
import os
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio

from phasen_sb.data.audio_check import AudioFile, inspect_audio
from phasen_sb.data.files import write_atomically
from phasen_sb.errors import UserError

# A long Kaiser window: flat to 0.45 of the new rate, aliases below -100 dB.
# Results differ by resampler, so data.json records this one.
RESAMPLER = {
    "function": "torchaudio.functional.resample",
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}


def cache_folder(save_folder: Path, sample_rate: int) -> Path:
    """Names the cache for one rate and the present resampler parameters.

    Arguments
    ---------
    save_folder : pathlib.Path
        Folder of the manifests.
    sample_rate : int
        Rate of the cached files (Hz).

    Returns
    -------
    pathlib.Path
        Another folder for every other rate or parameter, so that files made
        in different ways never mix.
    """
    key = hashlib.md5(json.dumps(RESAMPLER).encode()).hexdigest()[:8]
    return save_folder / f"resampled_{sample_rate}_{key}"


def rate_problem(rate: int, sample_rate: int) -> str | None:
    """Says why a rate cannot become another, if so.

    Arguments
    ---------
    rate, sample_rate : int
        The rate at hand and the wanted one (Hz).

    Returns
    -------
    str or None

    Example
    -------
    >>> rate_problem(44100, 16000)
    >>> rate_problem(44101, 16000)[:40]
    'is at 44101 Hz, which has too little in '
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
        ``[samples]``, float32.
    rate, sample_rate : int
        Its rate and the wanted one (Hz).

    Returns
    -------
    torch.Tensor
        ``[samples]``.
    """
    options = {k: v for k, v in RESAMPLER.items() if k != "function"}
    with torch.no_grad():
        return torchaudio.functional.resample(
            torch.from_numpy(samples), rate, sample_rate, **options
        )


def resample_file(source: Path, target: Path, sample_rate: int) -> AudioFile:
    """Resamples one mono file to float32 WAV, unless that was done before.

    Float samples are neither rounded nor clipped where the filter
    overshoots. The copy takes over its source's time of modification, which
    tells a later run that it is up to date.

    Arguments
    ---------
    source : pathlib.Path
        File at any rate.
    target : pathlib.Path
        File to write.
    sample_rate : int
        The new rate (Hz).

    Returns
    -------
    AudioFile
        Facts about the resampled file.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    modified = source.stat().st_mtime_ns
    if not target.exists() or target.stat().st_mtime_ns != modified:
        samples, rate = sf.read(source, dtype="float32")
        samples = resample(samples, rate, sample_rate)
        # Encoded in memory: libsndfile would hide a full disk.
        encoded = io.BytesIO()
        sf.write(
            encoded, samples.numpy(), sample_rate, format="WAV", subtype="FLOAT"
        )
        write_atomically(target, encoded.getbuffer())
        os.utime(target, ns=(modified, modified))
    result = inspect_audio(target)
    if result.problem:
        raise UserError(
            f"{target} {result.problem}; remove it and run again, so that it "
            "is made anew."
        )
    return result
