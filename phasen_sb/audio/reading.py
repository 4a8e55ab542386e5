"""Opens and reads audio files of every kind that libsndfile knows."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.audio.media import MediaFile, can_read_media, looks_like_media
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import nearest_sibling

#: Samples (of all channels together) that are read at a time.
BLOCK_SAMPLES = 2**20
#: Sizes in a header that mean that the length was not known yet: -1, and what
#: SoX and ffmpeg write into a pipe.
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36)


def explain_decoding_error(error: Exception) -> str:
    """Finds the reason, a few words, in an error of soundfile."""
    if isinstance(error, TypeError):
        # soundfile asks for the sample rate of a file without a header.
        return "it has no header"
    reason = getattr(error, "error_string", None) or str(error)
    if "does not exist" in reason:
        # What libsndfile says of an MP3 without a single frame; it exists.
        reason = "Format not recognised"
    return reason.strip().rstrip(".")


def open_audio(path: str | os.PathLike) -> sf.SoundFile | MediaFile:
    """Opens a file that the user named, or says what is wrong with it.

    Raises a :class:`phasen_sb.errors.UserError` if there is no such file, or
    it cannot be read, is empty or not audio.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, not an audio file.")
    if not path.exists():
        near = (
            nearest_sibling(path.parent) if not path.parent.exists() else None
        )
        hint = f"did you mean the folder {near}?" if near else "check the path."
        raise UserError(f"There is no file {path}; {hint}")
    if not path.is_file():
        raise UserError(
            f"{path} is not a regular file; for a pipe give - and feed it to "
            "stdin as WAV."
        )
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from error
    if empty:
        raise UserError(
            f"{path} is an empty file of 0 bytes; get a whole copy."
        )
    if path.suffix.lower() in MEDIA_SUFFIXES:
        return MediaFile(path)
    try:
        return sf.SoundFile(path)
    except (sf.SoundFileError, TypeError) as error:
        if can_read_media() and looks_like_media(path):
            return MediaFile(path)
        raise UserError(
            f"{path} cannot be decoded as audio "
            f"({explain_decoding_error(error)}); convert it to WAV or FLAC "
            "first."
        ) from error


def read_samples(file: sf.SoundFile, samples: int) -> np.ndarray:
    """Reads the next samples, or all that are left if ``samples`` is -1.

    They are ``[n, channels]``, float64, which holds every format's samples
    exactly; n is smaller than ``samples`` only at the end of the file.

    Raises a :class:`phasen_sb.errors.UserError` if the file is damaged there.
    """
    try:
        return file.read(samples, dtype="float64", always_2d=True)
    except sf.SoundFileError as error:
        position = file.tell() / file.samplerate
        raise UserError(
            f"{file.name} is damaged after {position:.1f} s; get a whole copy, "
            "or convert the part before to WAV."
        ) from error


def read_blocks(file: sf.SoundFile) -> Iterator[np.ndarray]:
    """Reads what is left of a file, ``[n, channels]`` at a time."""
    count = max(1, BLOCK_SAMPLES // file.channels)
    while len(block := read_samples(file, count)):
        yield block


def check_whole(file: sf.SoundFile, samples: int) -> None:
    """Refuses a file that ends before it should.

    The file has been read to its end, which gave ``samples`` samples. Raises a
    :class:`phasen_sb.errors.UserError` if there are none, or fewer than the
    header promises.
    """
    if isinstance(file, MediaFile):
        return file.check_whole(samples)
    promised = file.frames
    cut = None
    if missing := _count_missing_bytes(file):
        cut = f"{missing} bytes are missing after {samples} samples"
    elif samples < promised < 2**62:
        cut = f"{samples} of its {promised} samples are there"
    elif file.format == "OGG" and not _ogg_is_whole(file.name):
        cut = f"the stream has no end mark after {samples} samples"
    if cut:
        raise UserError(
            f"{file.name} is cut short: {cut}; get a whole copy, or convert "
            "what is there to a new file."
        )
    if samples == 0:
        raise UserError(f"{file.name} has no samples.")


def _count_missing_bytes(file: sf.SoundFile) -> int:
    # libsndfile takes what is there for the whole; its log contains what the
    # header says.
    found = re.search(
        r"^\s*(?:data|SSND|Data [Ss]ize)\s*: (\d+)(?: \(should be (\d+)\))?",
        file.extra_info,
        re.MULTILINE,
    )
    if found is None or int(found[1]) in UNKNOWN_SIZES:
        return 0
    there = int(found[2] or os.path.getsize(file.name))
    return max(0, int(found[1]) - there)


def _ogg_is_whole(path: str) -> bool:
    """Whether the last page is whole and ends the stream (RFC 3533, 6)."""
    with open(path, "rb") as file:
        # A page has less than half of this.
        file.seek(max(0, os.path.getsize(path) - 2**17))
        ending = file.read()
    page = ending[ending.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    ends_stream, segments = page[5] & 4, page[26]
    sizes = page[27 : 27 + segments]
    return (
        bool(ends_stream)
        and len(sizes) == segments
        and len(page) >= 27 + segments + sum(sizes)
    )
