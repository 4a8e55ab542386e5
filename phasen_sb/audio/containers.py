"""Video and audio files that FFmpeg writes, and not libsndfile."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Container:
    """How FFmpeg writes a kind of file."""

    muxer: str
    #: Of the sound, where nothing else is asked for.
    codec: str = "AAC"
    #: Whether it has a place for pictures and subtitles.
    video: bool = False
    #: Whether it has a place for the picture of a cover.
    cover: bool = False
    #: Whether it tells how many samples at the front are the encoder's delay.
    #: Where it does not, they are cut off.
    tells_delay: bool = True
    #: Whether FFmpeg's decoder leaves the first frame out.
    loses_frame: bool = False
    options: dict[str, str] = field(default_factory=dict)


#: By suffix, which is a name for --format too.
CONTAINERS = {
    "m4a": Container("mp4", cover=True, options={"brand": "M4A "}),
    "m4b": Container("mp4", cover=True, options={"brand": "M4B "}),
    "aac": Container("adts", tells_delay=False),
    "mp4": Container("mp4", video=True, cover=True),
    "m4v": Container("mp4", video=True, cover=True),
    "mov": Container("mov", video=True, cover=True),
    "3gp": Container("3gp", video=True),
    "mkv": Container("matroska", video=True, cover=True),
    "mka": Container("matroska", cover=True),
    "webm": Container("webm", "OPUS", video=True),
    "wma": Container("asf", "WMAV2", loses_frame=True),
    "amr": Container("amr", "AMR_NB"),
}
MEDIA_SUFFIXES = frozenset(f".{name}" for name in CONTAINERS)
