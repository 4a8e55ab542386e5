"""Resamples files into a cache that interrupted runs leave intact."""

import hashlib
import io
import json
import os
from pathlib import Path

import soundfile as sf

from phasen_sb.audio.checking import AudioFile, inspect_audio
from phasen_sb.audio.reading import open_audio
from phasen_sb.audio.resampling import RESAMPLER, resample
from phasen_sb.errors import UserError
from phasen_sb.utils.files import write_atomically


def name_cache_folder(save_folder: Path, sample_rate: int) -> Path:
    """Names the cache for one rate and the current resampler.

    Files made in different ways never mix: each way has a folder of its own.
    """
    key = hashlib.md5(json.dumps(RESAMPLER).encode()).hexdigest()[:8]
    return save_folder / f"resampled_{sample_rate}_{key}"


def resample_file(source: Path, target: Path, sample_rate: int) -> AudioFile:
    """Resamples a mono file to float32 WAV, unless that was done before.

    Float samples are neither rounded nor clipped where the filter
    overshoots. The copy gets the modification time of its source, by which a
    later run sees that it is up to date. ``sample_rate`` is the new rate (Hz).
    Facts about the copy are returned.

    Raises a :class:`phasen_sb.errors.UserError` if the copy cannot be written
    or is damaged.
    """
    modified = source.stat().st_mtime_ns
    if not target.exists() or target.stat().st_mtime_ns != modified:
        with open_audio(source) as file:
            samples, rate = file.read(dtype="float32"), file.samplerate
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
            f"{target} {result.problem}; remove it and run again, which "
            "resamples it again."
        )
    return result
