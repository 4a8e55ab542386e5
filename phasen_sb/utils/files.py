"""Reads JSON, and writes files that are there in full or not at all."""

import hashlib
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phasen_sb.errors import UserError

#: Bytes of the longest name that the file systems in use all take: most take
#: 255, those that encrypt names 143.
LONGEST_NAME = 143


def native_path(path: str | os.PathLike) -> str | bytes:
    """Returns a path as libsndfile takes it.

    soundfile encodes text strictly; names that are not UTF-8 need bytes.
    """
    return os.fspath(path) if sys.platform == "win32" else os.fsencode(path)


def name_partial(path: Path, ending: str = ".part") -> Path:
    """Names the hidden file beside ``path`` that becomes it when complete.

    A long name is replaced by its checksum, so that the hidden one is not too
    long.

    Example
    -------
    >>> name_partial(Path("out/a.wav"))
    PosixPath('out/.a.wav.part')
    >>> len(name_partial(Path("x" * 255)).name)
    46
    """
    name = os.fsencode(path.name)
    if len(name) + len(ending) + 1 > LONGEST_NAME:
        return path.with_name(f".{hashlib.sha1(name).hexdigest()}{ending}")
    return path.with_name(f".{path.name}{ending}")


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Writes a file so that it is there in full or not at all.

    Text is written as UTF-8, with ``\\udce9`` for what is not, as in names of
    files; the file's folder is made where missing.

    Raises a :class:`phasen_sb.errors.UserError` if the file cannot be written:
    disk full, no permission.
    """
    path = Path(path)
    part = name_partial(path)
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        remove_partial(part)
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}; make room "
            "or choose another folder, then run again."
        ) from error


def write_json(path: str | Path, content: Mapping) -> None:
    """Writes a mapping as indented JSON.

    For folder and errors, see :func:`phasen_sb.utils.files.write_atomically`.
    """
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def read_json(path: str | Path, fix: str) -> Any:
    """Reads a JSON file.

    ``fix`` is what the user can do if it cannot be read, such as ``run what
    wrote it again``: the end of the sentence of the
    :class:`phasen_sb.errors.UserError` that is raised if there is no such
    file, or it is damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    # A stranger's may be nested as deeply as he likes.
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); {fix}.") from error


def remove_partial(part: Path) -> None:
    """Removes what a failed write left behind, as far as possible."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # The folder itself may be what cannot be written.
        pass


def unpack_tar(path: str | Path, folder: str | Path) -> None:
    """Unpacks a tar archive, compressed or not, into a folder.

    Members and links that lead out of it are refused where Python can do that:
    from 3.10.12, 3.11.4 or 3.12 on. Raises :class:`tarfile.TarError` or
    OSError.
    """
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
