"""Finds the audio files of a folder."""

import os
from pathlib import Path

from phasen_sb.errors import UserError

AUDIO_SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .caf .w64 .rf64"
    " .sph .nist .voc".split()
)


def find_audio(folder: Path, exclude: Path | None = None) -> dict[str, Path]:
    """Lists the audio files of a folder and of the folders in it, by name.

    The name is the path relative to ``folder`` without its suffix, with ``__``
    for ``/``, so that it can name a file of results too; the files are sorted
    by it. Hidden files and files that are not audio by their suffix are left
    out, and so is the folder ``exclude``, such as the one that results are
    written to.

    Raises a :class:`phasen_sb.errors.UserError` if there is no audio, or two
    files have the same name.
    """
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name) != exclude
        ]
        for file_name in names:
            path = Path(parent, file_name)
            if file_name.startswith("."):
                continue
            if path.suffix.lower() not in AUDIO_SUFFIXES:
                continue
            name = path.relative_to(folder).with_suffix("").as_posix()
            name = name.replace("/", "__")
            if name in found:
                raise UserError(
                    f"{found[name]} and {path} would both be called {name}; "
                    "rename or remove one of them."
                )
            found[name] = path
    if not found:
        raise UserError(
            f"{folder} has no audio files in it (WAV, FLAC, OGG, MP3, AIFF, "
            "...); check the path, or convert other formats to WAV."
        )
    return dict(sorted(found.items()))
