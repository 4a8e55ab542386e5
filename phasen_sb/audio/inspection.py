"""Finds every audio file that could not be trained on, before training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.errors import UserError
from phasen_sb.utils.files import write_atomically

BLOCK = 1 << 18  # samples decoded at a time, so long files need no memory
LISTED = 20  # bad files named in the error itself


@dataclass(frozen=True)
class AudioFile:
    """What one full reading of an audio file found.

    Arguments
    ---------
    path : pathlib.Path
        The file.
    samples : int
        Number of samples in each channel.
    rate : int
        Sample rate (Hz).
    md5 : str
        Checksum of the samples as little-endian float32, the same for WAV
        and FLAC copies of one recording.
    problem : str, optional
        Why the file cannot be used; None where it can.
    """

    path: Path
    samples: int = 0
    rate: int = 0
    md5: str = ""
    problem: str | None = None


def inspect_audio(path: str | Path) -> AudioFile:
    """Decodes a whole file and says what is in it.

    Silence, a single sample, a constant and clipped audio are no problem.
    An empty file, one that cannot be decoded, more than one channel, and
    samples that are NaN or infinite are.

    Arguments
    ---------
    path : str or pathlib.Path
        Any file that libsndfile reads.

    Returns
    -------
    AudioFile
        Its facts; errors are told in ``problem`` and never raised.

    Example
    -------
    >>> path = getfixture("tmp_path") / "not_audio.wav"
    >>> _ = path.write_text("hello")
    >>> inspect_audio(path).problem
    'cannot be decoded (Format not recognised)'
    """
    path = Path(path)
    digest = hashlib.md5()
    samples = 0
    try:
        if path.stat().st_size == 0:
            return AudioFile(path, problem="is an empty file of 0 bytes")
        with sf.SoundFile(path) as file:
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
    except (sf.SoundFileError, OSError, RuntimeError) as error:
        reason = getattr(error, "error_string", None) or str(error)
        return AudioFile(
            path, problem=f"cannot be decoded ({reason.strip().rstrip('.')})"
        )
    problem = None
    if samples == 0:
        problem = "has no samples"
    elif samples < promised:
        problem = f"is cut short: {samples} of its {promised} samples are there"
    return AudioFile(path, samples, rate, digest.hexdigest(), problem)


def pair_problem(noisy: AudioFile, clean: AudioFile) -> str | None:
    """Says why two good files are not a pair.

    Arguments
    ---------
    noisy : AudioFile
        The noisy recording.
    clean : AudioFile
        The clean one.

    Returns
    -------
    str or None
        A problem of the noisy file; None where rate and length agree.
    """
    if noisy.rate != clean.rate:
        return f"is at {noisy.rate} Hz, {clean.path} at {clean.rate} Hz"
    if noisy.samples != clean.samples:
        return f"has {noisy.samples} samples, {clean.path} has {clean.samples}"
    return None


def raise_bad_files(
    problems: Sequence[tuple[Path, str]], checked: int, save_folder: str | Path
) -> None:
    """Raises one error that names all bad files, if there are any.

    Arguments
    ---------
    problems : sequence of (pathlib.Path, str)
        Each bad file with what is wrong with it.
    checked : int
        How many files were looked at.
    save_folder : str or pathlib.Path
        Where ``bad_files.txt`` with the full list is written, if the list is
        too long for the message.

    Raises
    ------
    UserError
        If ``problems`` is not empty.
    """
    if not problems:
        return
    lines = [f"{path}: {problem}" for path, problem in problems]
    message = (
        f"{len(lines)} of {checked} audio files cannot be used; mend or remove "
        "them, with their partners, and run again:\n"
    )
    message += "\n".join(f"  {line}" for line in lines[:LISTED])
    if len(lines) > LISTED:
        full_list = Path(save_folder) / "bad_files.txt"
        write_atomically(full_list, "\n".join(lines) + "\n")
        message += f"\n  ... and {len(lines) - LISTED} more, all in {full_list}"
    raise UserError(message)
