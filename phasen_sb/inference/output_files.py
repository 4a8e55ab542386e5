"""Opens the files that become of an input, with what else was in it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from phasen_sb.audio.formats import (
    AudioFormat,
    choose_format,
    find_other_format,
)
from phasen_sb.audio.media import MediaFile, import_av
from phasen_sb.audio.metadata import (
    Metadata,
    make_picture,
    read_metadata,
)
from phasen_sb.audio.reading import (
    AudioFile,
    format_of,
    open_audio,
    read_blocks,
)
from phasen_sb.audio.writing import AudioWriter
from phasen_sb.inference.output_paths import name_residual
from phasen_sb.inference.reports import PeakMeter
from phasen_sb.utils.files import name_partial, remove_partial

#: Ends the hidden file of an output whose peak is not known yet.
UNSCALED = ".unscaled.w64"


class OutputFiles:
    """Chooses the formats of output files, and opens them for writing.

    They have the rate, channels, tags and other contents of ``file``, an open
    input; for a video FFmpeg copies these, else
    :mod:`phasen_sb.audio.metadata`. The file may be closed afterwards.
    """

    def __init__(self, file: AudioFile):
        self._source = Path(file.name)
        self._stored = format_of(file)
        self._rate, self._channels = file.samplerate, file.channels
        self._note, self._tags = file.note, file.copy_metadata()
        self._media = file if isinstance(file, MediaFile) else None
        if self._media:
            covers = [make_picture(*c) for c in self._media.read_covers()]
            self._metadata = Metadata(self._stored.format, pictures=covers)
        else:
            self._metadata = read_metadata(self._source, self._stored)

    def choose_format(self, target: Path, name: str | None) -> AudioFormat:
        """Chooses a format by name, else by the suffix of ``target``.

        Raises a :class:`phasen_sb.errors.UserError` if it cannot be written.
        """
        name = name or find_other_format(self._stored, target.suffix)
        chosen = choose_format(self._stored, name)
        if chosen.is_media:
            import_av(target)
        return chosen

    def list_remarks(self, target: Path, chosen: AudioFormat) -> list[str]:
        """Lists what was assumed of the input, and what is not kept of it."""
        remarks = [self._note]
        if not (self._media and chosen.is_media):  # MediaWriter says it
            remarks.append(self._metadata.name_lost(chosen))
        if find_other_format(self._stored, self._source.suffix):
            remarks.append(
                f"it contains {self._stored.format}, not what its suffix says; "
                f"{target.name} is {chosen.format}."
            )
        return [remark for remark in remarks if remark]

    def open_writer(
        self, path: Path, audio_format: AudioFormat, samples: int
    ) -> AudioWriter:
        """Opens a file for so many samples."""
        tags = {} if self._metadata.copies(audio_format) else self._tags
        if audio_format.is_media:
            # Here, because it needs PyAV.
            from phasen_sb.audio.media_writing import MediaWriter

            return MediaWriter(
                path,
                self._rate,
                self._channels,
                audio_format,
                self._media,
                tags,
            )
        return AudioWriter(
            path,
            self._rate,
            self._channels,
            audio_format,
            samples,
            tags,
            lambda part: self._metadata.write(part, audio_format),
            self._metadata.size,
        )


def remove_partials(target: Path) -> None:
    """Removes what a process that died over an output left beside it."""
    unscaled = name_partial(target, UNSCALED)
    for path in (target, name_residual(target), unscaled):
        remove_partial(name_partial(path))
    remove_partial(unscaled)


def write_scaled(
    write: Callable[[Path, AudioFormat, Iterable[np.ndarray]], None],
    target: Path,
    chosen: AudioFormat,
    parts: Iterable[np.ndarray],
    meter: PeakMeter,
) -> float:
    """Writes a file that is scaled down to full scale, and returns the factor.

    It goes by way of a float file, since ``meter`` knows the peak only when all
    ``parts`` have come.
    """
    unscaled = name_partial(target, UNSCALED)
    try:
        write(unscaled, choose_format(chosen, "w64:DOUBLE"), parts)
        gain = 1.0 if meter.peak <= 1.0 else 1.0 / meter.peak
        with open_audio(unscaled) as file:
            write(target, chosen, (gain * b for b in read_blocks(file)))
    finally:
        remove_partial(unscaled)
    return gain
