"""Finds the audio files of a folder."""

import logging
import os
import unicodedata
from collections.abc import Container, Mapping
from pathlib import Path

from phasen_sb.audio.containers import MEDIA_SUFFIXES
from phasen_sb.errors import UserError

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .bwf .flac .ogg .oga .opus .mp3 .mp2 .mpga .aif .aiff .aifc"
    " .au .snd .caf .w64 .rf64 .sph .nist .voc".split()
)
#: Files with sound in them that libsndfile does not read.
OTHER_SOUND = MEDIA_SUFFIXES | frozenset(".avi .wmv .ac3 .ape .wv .ra".split())
#: Entries of a folder that are neither a file nor searched.
BROKEN_LINK = "link to nothing"
CIRCLE = "link to a folder that it is in"
REPEATED = "link, in a linked folder, to one that was searched"
UNREADABLE = "folder that cannot be read"
OUTPUTS = "folder of the outputs"
#: How many names a sentence gives of each kind of file.
NAMED = 3

logger = logging.getLogger(__name__)


def search_folder(
    folder: Path,
    exclude: Path | None = None,
    suffixes: Container[str] = AUDIO_SUFFIXES,
) -> tuple[list[Path], dict[Path, str]]:
    """Lists the audio files of a folder and of the folders in it.

    Audio files are known by their ``suffixes``, in small letters. Links to
    folders are followed, but not back to a folder that they are in, nor from
    one linked folder to another that was searched: folders that link to each
    other have too many paths. Hidden
    files are ignored. Returns the audio files, sorted folder by folder, and
    what else there is by its kind: a suffix, or words such as
    :data:`BROKEN_LINK`. The folder ``exclude``, in which outputs go, is not
    searched.
    """
    audio: list[Path] = []
    others: dict[Path, str] = {}
    excluded = None if exclude is None else os.path.realpath(exclude)

    searched: set[str] = set()

    def search(path: Path, above: tuple[str, ...], is_linked: bool):
        here = os.path.realpath(path)
        searched.add(here)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            others[path] = UNREADABLE
            return
        folders = []
        for entry in entries:
            file = path / entry.name
            if entry.name.startswith("."):
                continue
            if os.path.isdir(file):
                folders.append(file)
            elif not os.path.exists(file):
                others[file] = BROKEN_LINK
            elif file.suffix.lower() in suffixes:
                audio.append(file)
            else:
                others[file] = file.suffix.lower() or "without a suffix"
        for inner in folders:
            real = os.path.realpath(inner)
            if real == excluded:
                others[inner] = OUTPUTS
            elif real in above or os.path.commonpath([real, here]) == real:
                others[inner] = CIRCLE
            elif is_linked and inner.is_symlink() and real in searched:
                others[inner] = REPEATED
            else:
                search(inner, (*above, here), is_linked or inner.is_symlink())

    search(Path(folder), (), False)
    return audio, others


def describe_others(others: Mapping[Path, str]) -> str:
    """Counts files by kind and names the first of each.

    Example
    -------
    >>> describe_others({Path("in/a.m4a"): ".m4a", Path("in/b.m4a"): ".m4a"})
    '2 x .m4a (in/a.m4a, in/b.m4a)'
    """
    kinds: dict[str, list[str]] = {}
    for path, kind in others.items():
        kinds.setdefault(kind, []).append(str(path))
    return ", ".join(
        f"{len(paths)} x {kind} ({', '.join(paths[:NAMED])}"
        f"{', ...' if len(paths) > NAMED else ''})"
        for kind, paths in kinds.items()
    )


def find_audio(folder: Path, exclude: Path | None = None) -> dict[str, Path]:
    """Lists the audio files of a folder and of the folders in it, by name.

    The name is the path relative to ``folder`` without its suffix, with ``__``
    for ``/``, so that it can name a file of results too; the files are sorted
    by it. Accented letters are one character each, however the file system
    writes them. Files are left out as by :func:`search_folder`, and the log
    names those with sound in them.

    Raises a :class:`phasen_sb.errors.UserError` if there is no audio, or two
    files have the same name.
    """
    found: dict[str, Path] = {}
    audio, others = search_folder(folder, exclude)
    missed = OTHER_SOUND | {BROKEN_LINK, CIRCLE, REPEATED, UNREADABLE}
    unread = {path: kind for path, kind in others.items() if kind in missed}
    for path in audio:
        name = path.relative_to(folder).with_suffix("").as_posix()
        name = unicodedata.normalize("NFC", name.replace("/", "__"))
        if name in found:
            raise UserError(
                f"{found[name]} and {path} would both be called {name}; "
                "rename or remove one of them."
            )
        found[name] = path
    if not found:
        raise no_audio(folder, unread)
    if unread:
        logger.warning(f"Left out of {folder}: {describe_others(unread)}.")
    return dict(sorted(found.items()))


def no_audio(
    folder: Path, others: Mapping[Path, str], fix: str | None = None
) -> UserError:
    """Makes the error for a folder without audio, which names what it has."""
    has = f", but {describe_others(others)}" if others else ""
    return UserError(
        f"{folder} has no audio files in it (WAV, FLAC, OGG, MP3, AIFF, "
        f"...){has}; check the path, or "
        f"{fix or 'convert other formats to WAV'}."
    )
