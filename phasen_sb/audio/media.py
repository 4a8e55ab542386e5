"""Reads the sound of videos and of audio files that libsndfile does not know.

Needs the extra ``media``: PyAV, whose wheels contain FFmpeg.
"""

import importlib
import importlib.util
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile as sf

from phasen_sb.audio.containers import CONTAINERS
from phasen_sb.audio.formats import FORMATS
from phasen_sb.errors import UserError

#: FFmpeg's readers that may be used: files alone, not playlists, which name
#: further files and addresses.
DEMUXERS = "mov,matroska,asf,amr,aac,avi,mpegts,mpeg,flv,wav,mp3,flac,ogg"
#: Encoders that are not called like what they write. FFmpeg's own encoder of
#: Vorbis is an experiment.
ENCODERS = {
    "opus": "libopus",
    "mp3": "libmp3lame",
    "amr_nb": "libopencore_amrnb",
    "vorbis": "libopus",
}
#: Time stamps that differ by less are jitter. A picture lasts longer.
JITTER_SECONDS = 0.03
#: A longer gap in the sound is an error of the time stamps.
LONGEST_GAP_SECONDS = 24 * 3600
#: libsndfile's names of the tags that it knows.
TAGS = {
    name: name
    for name in ("title", "artist", "album", "comment", "copyright", "genre")
} | {"date": "date", "track": "tracknumber"}


def can_read_media() -> bool:
    """Whether the extra ``media`` is installed."""
    return importlib.util.find_spec("av") is not None


def looks_like_media(path: str | os.PathLike) -> bool:
    """Whether a file begins as MP4, Matroska, ASF or AMR do."""
    with open(path, "rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" or head.startswith(
        (b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"#!AMR")
    )


class MediaFile:
    """The first or default sound track of a file, as soundfile would show it.

    Samples follow the time stamps: where some are missing there is silence,
    where two overlap the later ones are dropped, so that sample n belongs to
    the time ``start + n / samplerate``.

    Raises a :class:`phasen_sb.errors.UserError` if PyAV is not installed, or
    the file has no sound that FFmpeg decodes.
    """

    endian = "FILE"
    extra_info = ""
    #: What :class:`phasen_sb.audio.reading.AudioReader` assumed.
    note = None

    def __init__(self, path: str | os.PathLike):
        self.name = os.fspath(path)
        self._position = 0
        self._container = open_container(path)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self):
        if not self._container.streams:
            raise UserError(
                f"{self.name} is damaged or cut short: no track in it can be "
                "read; get a whole copy."
            )
        stream = self._container.streams.best("audio")
        if stream is None:
            raise UserError(
                f"{self.name} has no sound in it that can be decoded."
            )
        self.track = stream.index
        self.format, self.subtype = _choose_format(
            Path(self.name).suffix[1:].lower(),
            stream.codec_context.codec.canonical_name,
        )
        frames = self._decode(stream)
        first = next(frames, None)
        if first is None:
            raise UserError(
                f"{self.name} has no sound in it that can be decoded."
            )
        self.samplerate = first.sample_rate
        self.layout = first.layout.name
        self.sample_format = first.format.name
        self.channels = first.layout.nb_channels
        #: When the first sample is played (s), on the clock of the pictures.
        self.start = _time_of(first) or Fraction(0)
        #: As the header says; 0 if it does not say it.
        self._is_padded = (
            self._container.format.name.startswith("mov")
            and not stream.codec_context.codec.lossless
        )
        self.frames = int(_promised_seconds(stream) * self.samplerate)
        self._blocks = self._cut_padding(self._place(chain([first], frames)))
        self._left = np.zeros((0, self.channels))

    def read(
        self, frames: int = -1, dtype: str = "float64", always_2d: bool = True
    ) -> np.ndarray:
        """Reads the next ``[n, channels]``, or all that are left."""
        parts, missing = [], frames if frames >= 0 else float("inf")
        while missing > 0:
            if not len(self._left):
                self._left = next(self._blocks, self._left)
                if not len(self._left):
                    break
            count = min(missing, len(self._left))
            parts.append(self._left[:count])
            self._left = self._left[count:]
            missing -= count
        result = np.concatenate(parts or [np.zeros((0, self.channels))])
        self._position += len(result)
        return result.astype(dtype, copy=False)

    def tell(self) -> int:
        """The number of samples that were read."""
        return self._position

    def check_whole(self, samples: int) -> None:
        """Refuses a file that ends a second or more before it should.

        It has been read to its end, which gave ``samples`` samples. Raises a
        :class:`phasen_sb.errors.UserError`.
        """
        if samples < self.frames - self.samplerate:
            raise UserError(
                f"{self.name} is cut short: {samples} of its {self.frames} "
                "samples are there; get a whole copy, or convert what is there "
                "to a new file."
            )

    def read_covers(self) -> list[tuple[str, bytes]]:
        """Pictures of covers: their types, such as image/png, and bytes."""
        tracks = [t.index for t in self._container.streams if is_cover(t)]
        return [read_cover(self.name, track) for track in tracks]

    def copy_metadata(self) -> dict[str, str]:
        """The tags that libsndfile knows, under its names."""
        return {
            TAGS[name.lower()]: text
            for name, text in self._container.metadata.items()
            if name.lower() in TAGS
        }

    def close(self) -> None:
        self._container.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _decode(self, stream):
        import av

        try:
            yield from self._container.decode(stream)
        except (av.FFmpegError, OSError) as error:
            seconds = self._position / (stream.rate or 1)
            raise UserError(
                f"{self.name} is damaged after {seconds:.1f} s "
                f"({error.strerror}); get a whole copy, or convert the part "
                "before to WAV."
            ) from error

    def _place(self, frames) -> Iterator[np.ndarray]:
        """Places decoded samples where their time stamps say."""
        position = 0
        for time, samples in _convert(frames, self.layout, self.samplerate):
            if time is not None:
                due = round((time - self.start) * self.samplerate)
                gap = due - position
                if abs(gap) < JITTER_SECONDS * self.samplerate:
                    gap = 0
                if gap > LONGEST_GAP_SECONDS * self.samplerate:
                    raise UserError(
                        f"{self.name} has wrong time stamps: the sound stops "
                        f"for {gap / self.samplerate / 3600:.0f} hours; "
                        "convert it to WAV first."
                    )
                samples = samples[max(0, -gap) :]
                position += max(0, gap)
                while gap > 0:
                    silence = min(gap, self.samplerate)
                    yield np.zeros((silence, self.channels))
                    gap -= silence
            if len(samples):
                position += len(samples)
                yield samples

    def _cut_padding(self, blocks):
        """Leaves out what fills an MP4's last frame, by the length it says."""
        position, last = 0, None
        for block in blocks:
            if last is not None:
                yield last
                position += len(last)
            last = block
        if last is not None:
            excess = position + len(last) - self.frames
            padded = self._is_padded and 0 < excess < len(last)
            yield last[:-excess] if padded else last


def measure_seconds(path: str | os.PathLike) -> float:
    """Length by the header, 0 if it is unknown or the file not readable."""
    try:
        with open_container(path) as container:
            return (container.duration or 0) / 1e6
    except UserError:
        return 0.0


def is_cover(track) -> bool:
    """Whether a track is the picture of a cover."""
    av = importlib.import_module("av")
    return bool(track.disposition & av.stream.Disposition.attached_pic)


def read_cover(path: str | os.PathLike, track: int) -> tuple[str, bytes]:
    """Reads the cover that is the track of that number: its type and bytes."""
    with open_container(path) as file:
        stream = file.streams[track]
        kind = stream.codec_context.name.replace("mjpeg", "jpeg")
        return f"image/{kind}", bytes(next(file.demux(stream)))


def import_av(path: str | os.PathLike) -> ModuleType:
    """Imports PyAV, or says how to get it for the file ``path``."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise UserError(
            f"{path} needs PyAV, which has FFmpeg in it; run "
            'pip install "phasen_sb[media]", or use WAV instead.'
        ) from error


def open_container(path: str | os.PathLike):
    """Opens a file with PyAV, or says what is wrong."""
    av = import_av(path)
    try:
        return av.open(
            # A name with a colon in it would be an address.
            f"file:{os.fspath(path)}",
            options={
                "protocol_whitelist": "file",
                "format_whitelist": DEMUXERS,
            },
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be decoded as audio or video ({reason}); get a "
            "whole copy, or convert its sound to WAV."
        ) from error


def _choose_format(suffix, codec):
    """Format and subtype of the output, if no other is asked for."""
    if suffix in FORMATS and suffix not in CONTAINERS:
        # The name is wrong, but it is what the output will be called.
        major, subtype = FORMATS[suffix]
        return major, subtype or sf.default_subtype(major)
    if suffix in CONTAINERS and not _is_encodable(codec):
        codec = CONTAINERS[suffix].codec
    return suffix.upper(), codec.upper()


_DURATION = re.compile(r"(\d{1,4}):(\d\d?):(\d\d?(?:\.\d*)?)")


def _promised_seconds(stream):
    """The track's length in the header; 0 if it is not there, or a guess."""
    if stream.container.format.name.startswith("mov"):
        return (stream.duration or 0) * stream.time_base
    found = _DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if found is None:
        return 0
    hours, minutes, seconds = map(float, found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _is_encodable(codec):
    import av

    try:
        return not av.Codec(ENCODERS.get(codec, codec), "w").experimental
    except ValueError:
        return False


def _time_of(frame):
    return None if frame.pts is None else frame.pts * frame.time_base


def _convert(frames, layout, rate):
    """Yields times (s) and ``[n, channels]`` in one layout and rate."""
    import av

    kind = resampler = None
    for frame in frames:
        new = frame.format.name, frame.layout.name, frame.sample_rate
        if new != kind:
            # It may change on the way, as where stereo sets in.
            if resampler is not None:
                for late in resampler.resample(None):
                    yield None, late.to_ndarray().T
            resampler = av.AudioResampler("dblp", layout, rate)
            kind = new
        for converted in resampler.resample(frame):
            yield _time_of(converted), converted.to_ndarray().T
    if resampler is not None:
        for late in resampler.resample(None):
            yield None, late.to_ndarray().T
