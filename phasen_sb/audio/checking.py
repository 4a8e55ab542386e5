"""Decodes a whole audio file to find out whether it can be used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.audio.reading import (
    AudioReader,
    check_whole,
    explain_decoding_error,
)
from phasen_sb.errors import UserError

BLOCK = 1 << 18  # samples decoded at a time, so that long files fit in memory


@dataclass(frozen=True)
class AudioFile:
    """What one full reading of an audio file found."""

    path: Path
    samples: int = 0  # in each channel
    rate: int = 0  # Hz
    #: Checksum of the samples as little-endian float32, the same for WAV and
    #: FLAC copies of one recording.
    md5: str = ""
    #: What was assumed where the header is wrong.
    note: str | None = None
    problem: str | None = None  # why the file cannot be used; None where it can


def inspect_audio(path: str | Path) -> AudioFile:
    """Decodes a whole file that libsndfile reads and describes it.

    Silence, a single sample, a constant and clipped audio are fine. An empty
    file, one that cannot be decoded, more than one channel, and samples that
    are NaN or infinite are problems; they are described in ``problem``, never
    raised.
    """
    path = Path(path)
    digest = hashlib.md5()
    samples = 0
    try:
        if path.stat().st_size == 0:
            return AudioFile(path, problem="is an empty file of 0 bytes")
        with AudioReader(path) as file:
            rate, promised = file.samplerate, file.frames
            if file.channels != 1:
                return AudioFile(
                    path,
                    promised,
                    rate,
                    problem=f"has {file.channels} channels; make it mono",
                )
            while len(block := file.read(BLOCK, dtype="float32")):
                if not np.isfinite(block).all():
                    bad = samples + int(np.argmin(np.isfinite(block)))
                    return AudioFile(
                        path,
                        promised,
                        rate,
                        problem=f"has NaN or infinity at sample {bad}",
                    )
                digest.update(block.astype("<f4", copy=False))
                samples += len(block)
            check_whole(file, samples)
            note = file.note
    except UserError as error:
        problem = str(error).removeprefix(f"{path} ").rstrip(".")
        return AudioFile(path, samples, problem=problem)
    except (sf.SoundFileError, OSError, RuntimeError) as error:
        reason = explain_decoding_error(error)
        return AudioFile(path, problem=f"cannot be decoded ({reason})")
    return AudioFile(path, samples, rate, digest.hexdigest(), note)
