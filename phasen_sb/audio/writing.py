"""Writes audio files, completely or not at all."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf
from mutagen import MutagenError

from phasen_sb.audio.formats import SAMPLE_BYTES, AudioFormat
from phasen_sb.errors import UserError
from phasen_sb.utils.files import name_partial, remove_partial

#: Above this many bytes, where sizes have 32 bits, a WAV becomes an RF64, the
#: WAV for large files; AIFF has nothing of the kind.
SIZE_LIMIT = 4 * 2**30 - 2**20
#: 0 best, 1 smallest: encoding a second time must not be audible.
LOSSY_COMPRESSION = 0.1
#: Samples written at a time: of 4 million, Vorbis overflows the stack.
BLOCK = 2**18
#: Highest sample rate (Hz) of Vorbis.
VORBIS_RATE = 200000


class AudioWriter:
    """Writes an audio file, completely or not at all.

    A context manager; what it wrote is renamed to the final name, ``path``, at
    the end, or removed after an error. ``rate`` is in Hz, and ``samples`` is
    the number of samples that will be written. ``tags`` are text such as
    ``title``, kept where the format has a place for it. ``finish`` is called
    with the path of the part file when all samples are written, and may append
    ``appended`` bytes.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        rate: int,
        channels: int,
        audio_format: AudioFormat,
        samples: int,
        tags: dict[str, str] | None = None,
        finish: Callable[[Path], None] | None = None,
        appended: int = 0,
    ):
        self._finish_part = finish
        #: What a user should know of the file, in sentences.
        self.notes: list[str] = []
        self.path = Path(path)
        self.part = name_partial(self.path)
        container = audio_format.format
        width = SAMPLE_BYTES.get(audio_format.subtype, 2)
        size = samples * channels * width + appended
        endian = audio_format.endian
        if size > SIZE_LIMIT and container in ("WAV", "WAVEX"):
            container, endian = "RF64", "FILE"
        if size > SIZE_LIMIT and container == "AIFF":
            # libsndfile would write a size that is too small by 4 GiB.
            raise UserError(
                f"{self.path} cannot be written: AIFF goes up to 4 GiB, and "
                f"the samples take {size / 2**30:.1f} GiB; choose another "
                "--format, such as wav."
            )
        options = {}
        if audio_format.format in ("MP3", "OGG"):
            options["compression_level"] = LOSSY_COMPRESSION
        self._raw = None
        if audio_format.subtype == "VORBIS" and rate > VORBIS_RATE:
            # libsndfile would end the process.
            raise UserError(
                f"{self.path} cannot be written: Ogg Vorbis goes up to "
                f"{VORBIS_RATE} Hz, not {rate} Hz; choose another --format, "
                "such as flac."
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = _CheckedFile(self.part)
            self._file = sf.SoundFile(
                self._raw,
                "w",
                rate,
                channels,
                audio_format.subtype,
                endian,
                container,
                **options,
            )
        except OSError as error:
            self._discard()
            raise self._failure(error) from error
        except (sf.SoundFileError, TypeError) as error:
            self._discard()
            raise UserError(
                f"{self.path} cannot be written: {audio_format.format} with "
                f"{audio_format.subtype} takes no {channels} channel(s) at "
                f"{rate} Hz; choose another --format, such as wav."
            ) from error
        for name, text in (tags or {}).items():
            try:
                setattr(self._file, name, text)
            except sf.SoundFileError:
                pass  # The format has no place for this tag.

    def write(self, block: np.ndarray) -> None:
        """Writes ``[samples, channels]``.

        Raises a :class:`phasen_sb.errors.UserError` if the disk is full or
        gone.
        """
        try:
            for start in range(0, len(block), BLOCK):
                self._file.write(block[start : start + BLOCK])
        except (sf.SoundFileError, AssertionError) as error:
            raise self._failure(self._raw.error or error) from error
        if self._raw.error is not None:
            raise self._failure(self._raw.error)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            self._file.close()
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self):
        try:
            self._raw.close()
            if self._raw.error is not None:
                raise self._raw.error
            if self._finish_part is not None:
                self._finish_part(self.part)
            os.replace(self.part, self.path)
        except (OSError, MutagenError) as error:
            raise self._failure(error) from error

    def _discard(self):
        if self._raw is not None:
            self._raw.close()
        remove_partial(self.part)

    def _failure(self, error):
        reason = getattr(error, "strerror", None) or error
        return UserError(
            f"{self.path} cannot be written ({reason}); make room or choose "
            "another folder, then run again."
        )


class _CheckedFile(io.RawIOBase):
    """Remembers errors, which libsndfile, its caller, would hide."""

    def __init__(self, path):
        super().__init__()
        # Unbuffered, so that errors occur in the call that causes them.
        self._file = open(path, "w+b", buffering=0)
        self.error = None

    def write(self, data):
        data = memoryview(data)
        written = 0
        while written < len(data) and self.error is None:
            try:
                written += self._file.write(data[written:])
            except OSError as error:
                self.error = error
        return written

    def close(self):
        try:
            self._file.close()
        except OSError as error:
            self.error = self.error or error

    def writable(self):
        return True

    def seekable(self):
        return True

    def readinto(self, data):
        return self._file.readinto(data)

    def seek(self, offset, whence=os.SEEK_SET):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()
