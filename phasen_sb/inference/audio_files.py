"""Audio files of every kind that libsndfile knows, read and written safely.

Authors
 * The phasen_sb authors 2026
"""

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.data.files import nearest_sibling, part_gone
from phasen_sb.errors import UserError

#: Names for --format and suffixes of output files: libsndfile's format, and
#: the subtype where the suffix tells it.
FORMATS = {
    "wav": ("WAV", None),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "oga": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", None),
    "aif": ("AIFF", None),
    "aifc": ("AIFF", None),
    "au": ("AU", None),
    "caf": ("CAF", None),
    "w64": ("W64", None),
    "rf64": ("RF64", None),
}
#: Subtypes that hold samples beyond full scale.
UNLIMITED = ("FLOAT", "DOUBLE")
#: A RIFF size that a program writes before it knows the length.
UNKNOWN_SIZE = 0x7FFFF000
#: Above this many bytes a WAV becomes an RF64, the WAV for large files.
WAV_LIMIT = 4 * 2**30 - 2**20
SAMPLE_BYTES = {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
#: 0 best, 1 smallest: what was encoded once shall not suffer from the second
#: time.
LOSSY_COMPRESSION = 0.1


def open_audio(path: str | os.PathLike) -> sf.SoundFile:
    """Opens a file for reading, or says what is wrong with it.

    Arguments
    ---------
    path : path
        What the user gave.

    Returns
    -------
    soundfile.SoundFile

    Raises
    ------
    UserError
        If there is no such file, it may not be read, is empty or no audio.

    Example
    -------
    >>> path = getfixture("tmp_path") / "notes.wav"
    >>> _ = path.write_text("call Anna")
    >>> open_audio(path)
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: ...notes.wav cannot be decoded as audio (Format
    not recognised); convert it to WAV or FLAC first.
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
    try:
        return sf.SoundFile(path)
    # Headerless files make soundfile ask for a rate with a TypeError.
    except (sf.SoundFileError, TypeError) as error:
        reason = getattr(error, "error_string", None) or "it has no header"
        raise UserError(
            f"{path} cannot be decoded as audio ({reason.strip().rstrip('.')})"
            "; convert it to WAV or FLAC first."
        ) from error


def read_samples(file: sf.SoundFile, samples: int) -> np.ndarray:
    """Reads the next samples.

    Arguments
    ---------
    file : soundfile.SoundFile
        Open for reading.
    samples : int
        How many.

    Returns
    -------
    np.ndarray
        ``[n, channels]``, float64, which holds every format's samples
        exactly; n is smaller only at the end of the file.

    Raises
    ------
    UserError
        If the file is damaged there.
    """
    try:
        return file.read(samples, dtype="float64", always_2d=True)
    except sf.SoundFileError as error:
        position = file.tell() / file.samplerate
        raise UserError(
            f"{file.name} is damaged after {position:.1f} s; get a whole copy, "
            "or convert the part before to WAV."
        ) from error


def check_whole(file: sf.SoundFile, samples: int) -> None:
    """Refuses a file that ends before it should.

    Arguments
    ---------
    file : soundfile.SoundFile
        Read to its end.
    samples : int
        How many samples were read.

    Raises
    ------
    UserError
        If there are none, or fewer than the header promises.
    """
    promised = file.frames
    if file.format in ("WAV", "WAVEX", "AIFF"):
        promised = max(promised, _promised_samples(file))
    if samples < promised < 2**62:
        raise UserError(
            f"{file.name} is cut short: {samples} of its {promised} samples "
            "are there; get a whole copy, or convert what is there to a new "
            "file."
        )
    if file.format == "OGG" and not _ogg_is_whole(file.name):
        raise UserError(
            f"{file.name} is cut short: the stream has no end mark after "
            f"{samples} samples; get a whole copy, or convert what is there "
            "to a new file."
        )
    if samples == 0:
        raise UserError(f"{file.name} has no samples.")


def _promised_samples(file):
    # libsndfile shortens the length to what is there, and says so in its log.
    found = re.search(
        r"^\s*(data|SSND) : (\d+) \(should be", file.extra_info, re.MULTILINE
    )
    if found is None or int(found[2]) >= UNKNOWN_SIZE:
        return 0
    size = int(found[2]) - (8 if found[1] == "SSND" else 0)
    block = re.search(r"Block Align\s*: (\d+)", file.extra_info)
    width = SAMPLE_BYTES.get(file.subtype, 2) * file.channels
    return size // (int(block[1]) if block else width)


def _ogg_is_whole(path):
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 2**17))
        page = file.read().rfind(b"OggS")
        file.seek(max(0, os.path.getsize(path) - 2**17) + page + 5)
        return page >= 0 and bool(file.read(1)[0] & 4)


@dataclass(frozen=True)
class AudioFormat:
    """How samples are stored in a file.

    Arguments
    ---------
    format : str
        libsndfile's name of the container, such as ``WAV``.
    subtype : str
        libsndfile's name of the encoding, such as ``PCM_16``.
    endian : str
        ``FILE``, ``LITTLE`` or ``BIG``.
    """

    format: str
    subtype: str
    endian: str = "FILE"

    @property
    def limited(self) -> bool:
        """Whether samples beyond full scale are clipped."""
        return self.subtype not in UNLIMITED


def format_of(file: sf.SoundFile) -> AudioFormat:
    """Returns the format of an open file."""
    return AudioFormat(file.format, file.subtype, file.endian)


def choose_format(source: AudioFormat, name: str | None) -> AudioFormat:
    """Chooses the format of an output file.

    Arguments
    ---------
    source : AudioFormat
        The input's, which is kept as far as possible.
    name : str or None
        A name out of ``FORMATS``, perhaps with a subtype: ``flac``,
        ``wav:PCM_24``, ``wav:FLOAT``. None: the source's.

    Returns
    -------
    AudioFormat

    Raises
    ------
    UserError
        If the name is unknown or libsndfile cannot write the combination.

    Example
    -------
    >>> choose_format(AudioFormat("WAV", "PCM_24"), "flac")
    AudioFormat(format='FLAC', subtype='PCM_24', endian='FILE')
    >>> choose_format(AudioFormat("WAV", "FLOAT"), "flac").subtype
    'PCM_24'
    """
    if name is None:
        chosen = source
    else:
        major, _, subtype = name.partition(":")
        if major.lower() not in FORMATS:
            raise UserError(
                f"The format {name!r} is unknown; give one of "
                f"{', '.join(FORMATS)}, perhaps with a subtype (wav:PCM_24, "
                "wav:FLOAT)."
            )
        major, fixed = FORMATS[major.lower()]
        chosen = AudioFormat(
            major, subtype.upper() or fixed or _nearest_subtype(source, major)
        )
    if not sf.check_format(chosen.format, chosen.subtype, chosen.endian):
        raise UserError(
            f"Files of format {chosen.format} with subtype {chosen.subtype} "
            "cannot be written; choose another --format, such as wav."
        )
    return chosen


def _nearest_subtype(source, major):
    if sf.check_format(major, source.subtype):
        return source.subtype
    lossless = source.subtype in ("FLOAT", "DOUBLE", "PCM_32")
    if lossless and sf.check_format(major, "PCM_24"):
        return "PCM_24"
    return sf.default_subtype(major)


class AudioWriter:
    """Writes an audio file that appears whole or not at all.

    A context manager; what it wrote is renamed to the final name at the end,
    or removed after an error.

    Arguments
    ---------
    path : path
        The final name.
    rate : int
        Sample rate (Hz).
    channels : int
        Number of channels.
    audio_format : AudioFormat
        How to store the samples.
    samples : int
        How many samples will be written.
    tags : dict
        Text such as ``title``, kept where the format has a place for it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "tone.wav"
    >>> wav = AudioFormat("WAV", "PCM_16")
    >>> with AudioWriter(path, 16000, 1, wav, 4) as writer:
    ...     writer.write(np.zeros((4, 1)))
    >>> sf.info(path).frames
    4
    """

    def __init__(
        self,
        path: str | os.PathLike,
        rate: int,
        channels: int,
        audio_format: AudioFormat,
        samples: int,
        tags: dict[str, str] | None = None,
    ):
        self.path = Path(path)
        self.part = self.path.with_name(f".{self.path.name}.part")
        self.written = 0
        container = audio_format.format
        width = SAMPLE_BYTES.get(audio_format.subtype, 2)
        if container == "WAV" and samples * channels * width > WAV_LIMIT:
            container = "RF64"
        options = {}
        if audio_format.format in ("MP3", "OGG"):
            options["compression_level"] = LOSSY_COMPRESSION
        self._raw = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = _CheckedFile(self.part)
            self._file = sf.SoundFile(
                self._raw,
                "w",
                rate,
                channels,
                audio_format.subtype,
                audio_format.endian,
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

        Raises
        ------
        UserError
            If the disk is full or gone.
        """
        try:
            self._file.write(block)
        except (sf.SoundFileError, AssertionError) as error:
            raise self._failure(self._raw.error or error) from error
        if self._raw.error is not None:
            raise self._failure(self._raw.error)
        self.written += len(block)

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
            os.replace(self.part, self.path)
        except OSError as error:
            raise self._failure(error) from error

    def _discard(self):
        if self._raw is not None:
            self._raw.close()
        part_gone(self.part)

    def _failure(self, error):
        reason = getattr(error, "strerror", None) or error
        return UserError(
            f"{self.path} cannot be written ({reason}); make room or choose "
            "another folder, then run again."
        )


class _CheckedFile(io.RawIOBase):
    """Remembers the error that libsndfile, which calls it, would hide."""

    def __init__(self, path):
        super().__init__()
        # Unbuffered, so that no error waits for a later call.
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

    def readinto(self, data):
        return self._file.readinto(data)

    def seek(self, offset, whence=os.SEEK_SET):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()
