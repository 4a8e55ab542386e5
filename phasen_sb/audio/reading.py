"""Opens and reads audio files of every kind that libsndfile knows."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soundfile as sf

from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.audio.formats import AudioFormat
from phasen_sb.audio.lengths import find_contents
from phasen_sb.audio.media import (
    MediaFile,
    can_read_media,
    looks_like_media,
    measure_seconds,
)
from phasen_sb.audio.pieces import PiecedFile
from phasen_sb.errors import UserError
from phasen_sb.utils.files import native_path
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


class AudioReader:
    """Reads an audio file, also one whose header gives a wrong length.

    Like an open ``soundfile.SoundFile``, but ``frames`` is the number of
    samples that are there, and a file of several parts is read through to its
    end. ``note`` says in a sentence what was assumed; None where the header is
    right.

    Arguments
    ---------
    path : path
        A file that libsndfile reads.

    Example
    -------
    >>> path = getfixture("tmp_path") / "noise.wav"
    >>> sf.write(path, np.random.randn(1000) / 9, 16000)
    >>> with AudioReader(path) as file:
    ...     file.frames, file.note, file.read(10, "float32").shape
    (1000, None, (10,))
    """

    def __init__(self, path: str | os.PathLike):
        self.name = str(path)
        contents = find_contents(path)
        self.note = contents.note if contents else None
        self._parts = contents.parts if contents else (None,)
        self._lengths = []
        self._index = 0
        self._file = self._open(0)
        file = self._file
        self.samplerate, self.channels = file.samplerate, file.channels
        self.format, self.subtype = file.format, file.subtype
        self.endian, self.extra_info = file.endian, file.extra_info
        if contents and self.format == "RF64":
            self.format = "WAV"
        self._tags = file.copy_metadata()
        self._lengths.append(file.frames)
        for index in range(1, len(self._parts)):
            with self._open(index) as part:
                if (part.samplerate, part.channels) != (
                    self.samplerate,
                    self.channels,
                ):
                    self._file.close()
                    raise UserError(
                        f"{path} has several recordings one behind the other, "
                        f"of {self.samplerate} Hz with {self.channels} "
                        f"channel(s) and {part.samplerate} Hz with "
                        f"{part.channels}; split it into files first."
                    )
                self._lengths.append(part.frames)
        self.frames = sum(self._lengths)

    def _open(self, index):
        pieces = self._parts[index]
        if pieces is None:
            return sf.SoundFile(native_path(self.name))
        return sf.SoundFile(PiecedFile(self.name, pieces))

    def _go_to(self, index):
        if index != self._index:
            self._file.close()
            self._index = index
            self._file = self._open(index)

    def copy_metadata(self) -> dict[str, str]:
        """Tags such as ``title``."""
        return self._tags

    def tell(self) -> int:
        """The sample that is read next."""
        return sum(self._lengths[: self._index]) + self._file.tell()

    def seek(self, sample: int) -> None:
        """Continues to read at another sample."""
        index = 0
        while index + 1 < len(self._lengths) and sample >= self._lengths[index]:
            sample -= self._lengths[index]
            index += 1
        self._go_to(index)
        self._file.seek(sample)

    def read(
        self, samples: int = -1, dtype: str = "float64", always_2d: bool = False
    ) -> np.ndarray:
        """Reads the next samples, fewer only at the end; -1 reads the rest."""
        block = self._file.read(samples, dtype=dtype, always_2d=always_2d)
        while self._index + 1 < len(self._parts) and (
            samples < 0 or len(block) < samples
        ):
            self._go_to(self._index + 1)
            more = self._file.read(
                samples if samples < 0 else samples - len(block),
                dtype=dtype,
                always_2d=always_2d,
            )
            block = np.concatenate([block, more])
        return block

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *_) -> None:
        self.close()


#: What :func:`open_audio` returns.
AudioFile: TypeAlias = AudioReader | MediaFile


def open_audio(path: str | os.PathLike) -> AudioFile:
    """Opens a file that the user named, or says what is wrong with it.

    Raises a :class:`phasen_sb.errors.UserError` if there is no such file, or
    it cannot be read, is empty or not audio. What was assumed about its length
    is in the reader's ``note``.
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
    is_media = path.suffix.lower() in MEDIA_SUFFIXES
    if is_media and can_read_media():
        return MediaFile(path)
    try:
        return AudioReader(path)
    except (sf.SoundFileError, TypeError) as error:
        if is_media or looks_like_media(path):
            return MediaFile(path)  # or says what it needs
        raise UserError(
            f"{path} cannot be decoded as audio "
            f"({explain_decoding_error(error)}); convert it to WAV or FLAC "
            "first."
        ) from error


def format_of(file: AudioFile) -> AudioFormat:
    """Returns the format of an open file."""
    return AudioFormat(file.format, file.subtype, file.endian)


def read_samples(file: AudioFile, samples: int) -> np.ndarray:
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


def read_blocks(file: AudioFile) -> Iterator[np.ndarray]:
    """Reads what is left of a file, ``[n, channels]`` at a time."""
    count = max(1, BLOCK_SAMPLES // file.channels)
    while len(block := read_samples(file, count)):
        yield block


def estimate_samples(file: AudioFile) -> int:
    """How many samples a file has by its header; 0 if that is not known.

    FFmpeg guesses where the header does not say it, as of AAC.
    """
    if 0 < file.frames < 2**62:
        return file.frames
    return round(measure_seconds(file.name) * file.samplerate)


def check_whole(file: AudioFile, samples: int) -> None:
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


def _count_missing_bytes(file: AudioReader) -> int:
    if file.note:
        return 0
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
