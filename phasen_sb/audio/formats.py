"""Formats of audio files: libsndfile's names, and the choice of one."""

from dataclasses import dataclass

import soundfile as sf

from phasen_sb.audio.containers import CONTAINERS
from phasen_sb.errors import UserError

#: Names for --format and suffixes of output files: libsndfile's format (or
#: FFmpeg's, in our names), and the subtype where the suffix determines it.
FORMATS = {
    "wav": ("WAV", None),
    "wave": ("WAV", None),
    "bwf": ("WAV", None),
    "flac": ("FLAC", None),
    "ogg": ("OGG", "VORBIS"),
    "oga": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", None),
    "aif": ("AIFF", None),
    "aifc": ("AIFF", None),
    "au": ("AU", None),
    "snd": ("AU", None),
    "caf": ("CAF", None),
    "w64": ("W64", None),
    "rf64": ("RF64", None),
} | {
    name: (name.upper(), container.codec)
    for name, container in CONTAINERS.items()
}
#: Subtypes that hold samples beyond full scale.
UNLIMITED = ("FLOAT", "DOUBLE")
#: Lossless subtypes, which another container keeps if it can.
SAMPLE_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
}


@dataclass(frozen=True)
class AudioFormat:
    """How samples are stored in a file, in libsndfile's names."""

    format: str  # the container, such as WAV
    subtype: str  # the encoding, such as PCM_16
    endian: str = "FILE"  # or LITTLE or BIG

    @property
    def is_media(self) -> bool:
        """Whether FFmpeg writes it, and not libsndfile."""
        return self.format.lower() in CONTAINERS

    @property
    def limited(self) -> bool:
        """Whether samples beyond full scale are clipped."""
        return self.subtype not in UNLIMITED


def find_other_format(source: AudioFormat, suffix: str) -> str | None:
    """Names the format that a suffix stands for if it is not the source's.

    None where it is, or where the suffix stands for no format.

    >>> find_other_format(AudioFormat("MP3", "MPEG_LAYER_III"), ".wav")
    'wav'
    >>> find_other_format(AudioFormat("RF64", "PCM_16"), ".WAV")
    """
    name = suffix.lower().removeprefix(".")
    container, subtype = FORMATS.get(name, (source.format, None))
    same = {"WAVEX": "WAV", "RF64": "WAV"}
    if same.get(container, container) != same.get(source.format, source.format):
        return name
    if name == "opus" and source.subtype != subtype:
        return name
    return None


def choose_format(source: AudioFormat, name: str | None) -> AudioFormat:
    """Chooses the format of an output file.

    That of the input, ``source``, is kept as far as possible. ``name`` is a
    key of :data:`FORMATS`, perhaps with a subtype (``flac``, ``wav:PCM_24``,
    ``wav:FLOAT``), or None for the source's format.

    Raises a :class:`phasen_sb.errors.UserError` if the name is unknown or
    libsndfile cannot write the combination.

    >>> choose_format(AudioFormat("WAV", "PCM_24"), "flac")
    AudioFormat(format='FLAC', subtype='PCM_24', endian='FILE')
    >>> choose_format(AudioFormat("WAV", "FLOAT"), "flac").subtype
    'PCM_24'
    >>> choose_format(AudioFormat("MP3", "MPEG_LAYER_III"), "wav").subtype
    'PCM_16'
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
    if chosen.is_media:
        return chosen
    if not sf.check_format(chosen.format, chosen.subtype, chosen.endian):
        raise UserError(
            f"Files of format {chosen.format} with subtype {chosen.subtype} "
            "cannot be written; choose another --format, such as wav."
        )
    return chosen


def _nearest_subtype(source, major):
    if source.subtype in SAMPLE_BYTES:
        if sf.check_format(major, source.subtype):
            return source.subtype
        if SAMPLE_BYTES[source.subtype] > 2 and sf.check_format(
            major, "PCM_24"
        ):
            return "PCM_24"
    return sf.default_subtype(major)
