"""Writes the enhanced sound into a video or an audio file of FFmpeg's.

Imported only where the extra ``media`` is installed.
"""

import os
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from phasen_sb.audio.containers import CONTAINERS
from phasen_sb.audio.formats import AudioFormat
from phasen_sb.audio.media import (
    ENCODERS,
    TAGS,
    MediaFile,
    is_cover,
    open_container,
    read_cover,
)
from phasen_sb.audio.writing import AudioWriter, _CheckedFile
from phasen_sb.errors import UserError
from phasen_sb.utils.files import name_partial

#: Bits per second and channel: encoding again must not be audible.
CHANNEL_BIT_RATE = 96_000
AMR_BIT_RATE = 12_200
#: By number of channels, where the input does not say it.
LAYOUTS = dict(enumerate("mono stereo 3.0 4.0 5.0 5.1 6.1 7.1".split(), 1))
#: Tags that are no longer true, and those of the container itself.
STALE_TAGS = (
    "bps",
    "number_of_",
    "_statistics",
    "encoder",
    "duration",
    "major_brand",
    "minor_version",
    "compatible_brands",
)


class MediaWriter(AudioWriter):
    """Writes sound with FFmpeg, completely or not at all.

    As :class:`phasen_sb.audio.writing.AudioWriter`, whose arguments ``path``,
    ``rate``, ``channels``, ``audio_format`` and ``tags`` it has. ``source`` is
    the file that the sound is from: its pictures, subtitles, other sound
    tracks, chapters and titles are copied as they are, as far as the new file
    has a place for them. The sound begins when the source's does.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        rate: int,
        channels: int,
        audio_format: AudioFormat,
        source: MediaFile | None = None,
        tags: dict[str, str] | None = None,
    ):
        self.path = Path(path)
        self.part = name_partial(self.path)
        self.notes = []  # of the other tracks
        self._finish_part = None
        self._kind = CONTAINERS[audio_format.format.lower()]
        self._rate = rate
        self._layout = source.layout if source else LAYOUTS.get(channels, "")
        self._start = source.start if source else Fraction(0)
        self._written = 0
        self._raw = self._file = self._input = None
        self._copies: dict[int, av.stream.Stream] = {}
        self._packets = iter(())
        with self._cleaned():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = _CheckedFile(self.part)
            options = dict(self._kind.options)
            if self._kind.muxer in ("mp4", "mov", "3gp"):
                # Start and length to the sample; by default to the ms.
                options["movie_timescale"] = str(rate)
            self._file = av.open(
                self._raw,
                "w",
                format=self._kind.muxer,
                container_options=options,
            )
            try:
                if source is None:
                    self._add_sound(audio_format.subtype, channels)
                    self._file.metadata.update(_ffmpeg_tags(tags or {}))
                else:
                    self._add_tracks(source, audio_format.subtype, channels)
                self._file.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                raise UserError(
                    f"{self.path} cannot be written ({error}); choose another "
                    "--format, such as mkv for a video or wav for its sound."
                ) from error
        self._packet = next(self._packets, None)
        if self._kind.loses_frame:
            self.write(np.zeros((self._sound.frame_size, channels)))

    def write(self, block: np.ndarray) -> None:
        """Writes ``[samples, channels]``, and the pictures until then.

        Raises a :class:`phasen_sb.errors.UserError` if the disk is full or
        gone.
        """
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.T, np.float64), "dblp", self._layout
        )
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = round(self._start * self._rate) + self._written
        self._written += len(block)
        with self._cleaned():
            self._copy_until(self._start + Fraction(self._written, self._rate))
            self._encode(frame)

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self._discard()
            return
        with self._cleaned():
            self._encode(None)
            self._copy_until(None)
            self._file.close()
            self._check_disk()
            self._note_lost_tags()
            self._finish()
        self._discard()

    def _add_tracks(self, source, subtype, channels):
        """Gives the new file the tracks of the old one, in their order."""
        self._input = open_container(source.name)
        self._file.metadata.update(_true_tags(self._input.metadata))
        for track in self._input.streams:
            if track.index == source.track:
                self._add_sound(subtype, channels, source.sample_format)
                self._sound.metadata.update(_true_tags(track.metadata))
                self._sound.disposition = track.disposition
            elif self._has_place(track):
                self._copy_track(track)
        self._file.set_chapters(self._input.chapters())
        copied = [self._input.streams[index] for index in self._copies]
        if copied:
            # Demuxing ends with empty packets.
            self._packets = (p for p in self._input.demux(copied) if p.size)

    def _add_sound(self, subtype, channels, sample_format=None):
        name = subtype.lower()
        codec = av.Codec(ENCODERS.get(name, name), "w")
        rate = self._rate
        if codec.audio_rates and rate not in codec.audio_rates:
            higher = [r for r in codec.audio_rates if r > rate]
            rate = min(higher) if higher else max(codec.audio_rates)
        if not self._layout:
            raise ValueError(f"no place for {channels} channels")
        self._sound = self._file.add_stream(codec.name, rate)
        self._sound.layout = self._layout
        self._sound.time_base = Fraction(1, rate)
        self._sound.bit_rate = (
            AMR_BIT_RATE
            if name == "amr_nb"
            else min(CHANNEL_BIT_RATE, 6 * rate) * channels
        )
        if sample_format in [f.name for f in codec.audio_formats or ()]:
            self._sound.format = sample_format

    def _has_place(self, track):
        """Whether a track can be copied; says it where it cannot."""
        takes = ["audio", "subtitle", "video"] if self._kind.video else []
        if is_cover(track):
            possible = self._kind.cover
        elif track.type == "attachment":
            possible = self._kind.muxer == "matroska"
        else:
            possible = track.type in takes
        # Chapters of an MP4 are a data track too.
        if not possible and self._kind.video and track.type != "data":
            self._note(track, "is left out, there is no place for it")
        return possible

    def _copy_track(self, track):
        if self._kind.muxer == "matroska" and is_cover(track):
            path = self._input.name.removeprefix("file:")
            name = track.metadata.get("filename", "cover")
            self._file.add_attachment(name, *read_cover(path, track.index))
            return
        try:
            copy = self._file.add_stream_from_template(track, opaque=True)
        except ValueError:
            if track.type == "video":
                raise
            self._note(track, "is left out, there is no place for it")
            return
        if self._kind.muxer in ("mp4", "mov") and track.type == "video":
            # Apple's players take no other name.
            if track.codec_context.name == "hevc" and (
                track.codec_context.codec_tag != "hev1"
            ):
                copy.codec_context.codec_tag = "hvc1"
        copy.metadata.update(_true_tags(track.metadata))
        copy.disposition = track.disposition
        if track.type == "audio":
            self._note(track, "is a further sound track and kept as it was")
        if track.type != "attachment":
            self._copies[track.index] = copy

    def _note(self, track, what):
        self.notes.append(
            f"{self.path}: track {track.index + 1} ({track.type}) {what}."
        )

    def _note_lost_tags(self):
        """Says which tags the new file has no place for."""
        there = set()
        # A moment of AAC without a container is not recognised.
        with suppress(UserError), open_container(self.part) as file:
            there = {name.lower() for name in file.metadata}
        lost = [n for n in self._file.metadata if n.lower() not in there]
        if lost:
            self.notes.append(
                f"{self.path}: these tags are not kept: {', '.join(lost)}."
            )

    def _copy_until(self, seconds):
        """Copies packets up to a time, or all that are left."""
        while self._packet is not None:
            packet = self._packet
            if seconds is not None and packet.dts is not None:
                if packet.dts * packet.time_base > seconds:
                    return
            packet.stream = self._copies[packet.stream.index]
            self._mux(packet)
            self._packet = next(self._packets, None)

    def _encode(self, frame):
        for packet in self._sound.encode(frame):
            time = packet.pts * packet.time_base
            if self._kind.tells_delay or time >= self._start:
                self._mux(packet)

    def _mux(self, packet):
        self._file.mux(packet)
        self._check_disk()

    def _check_disk(self):
        if self._raw.error is not None:
            raise self._raw.error

    @contextmanager
    def _cleaned(self):
        """Removes the part file after an error, and says what it was."""
        try:
            yield
        except UserError:
            self._discard()
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            self._discard()
            disk = self._raw and self._raw.error
            raise self._failure(disk or error) from error
        except BaseException:
            self._discard()
            raise

    def _discard(self):
        for container in (self._file, self._input):
            if container is not None:
                with suppress(av.FFmpegError, OSError, ValueError):
                    container.close()
        super()._discard()


def _true_tags(tags):
    return {
        name: text
        for name, text in tags.items()
        if not name.lower().startswith(STALE_TAGS)
    }


def _ffmpeg_tags(tags):
    """libsndfile's tags under FFmpeg's names."""
    names = {theirs: name for name, theirs in TAGS.items()}
    return {names[k]: text for k, text in tags.items() if k in names}
