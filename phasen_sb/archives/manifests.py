"""Lists of files: Kaldi's scp, CSV, JSON lines, or a path a line."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from phasen_sb.errors import UserError

#: Keys of CSV and JSON lines that hold the path of a file; the first one
#: that a manifest has counts. Among them are those of our own reports and
#: manifests, of SpeechBrain and of NeMo.
PATH_KEYS = ("file", "path", "filename", "noisy_wav", "wav", "audio_filepath")


def is_manifest(path: str | os.PathLike) -> bool:
    """Tells a list of files from an audio file, by its suffix.

    Example
    -------
    >>> [is_manifest(name) for name in ("wav.scp", "files.JSONL", "a.wav")]
    [True, True, False]
    """
    return Path(path).suffix.lower() in _READERS


def read_manifest(path: Path) -> list[tuple[Path, Path]]:
    """Reads the files that a manifest lists, each with its place in a tree.

    Relative paths start at the manifest's folder, or, where the first of them
    is not there, at the current folder. The place is the path as it is listed;
    of an absolute path, or one with ``..``, what follows the folder that all
    of these share; and of Kaldi's ``ID PATH`` the ID with the file's suffix.

    Raises a :class:`phasen_sb.errors.UserError` if the manifest cannot be read
    or has a line that names no file.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "wav.scp").write_text("anna-1 /data/anna/1.flac\\n")
    >>> read_manifest(folder / "wav.scp")
    [(PosixPath('/data/anna/1.flac'), PosixPath('anna-1.flac'))]
    """
    try:
        with open(
            path, encoding="utf-8-sig", errors="surrogateescape", newline=""
        ) as file:
            listed = list(_READERS[path.suffix.lower()](path, file))
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be read ({reason}); give another list of files."
        ) from error
    if not listed:
        raise UserError(f"{path} lists no files; write one a line.")
    folder = _find_folder(path.parent, [name for name, _ in listed])
    files = [folder / Path(name).expanduser() for name, _ in listed]
    outside = [
        os.path.abspath(file.parent)
        for file, (name, place) in zip(files, listed, strict=True)
        if not place and not _is_inner(name)
    ]
    common = os.path.commonpath(outside) if outside else ""

    def find_place(file, name, place):
        if place:
            return Path(place + file.suffix)
        if _is_inner(name):
            return Path(name)
        return Path(os.path.relpath(os.path.abspath(file), common))

    return [
        (file, find_place(file, name, place))
        for file, (name, place) in zip(files, listed, strict=True)
    ]


def _find_folder(beside, names):
    first = next((name for name in names if not os.path.isabs(name)), None)
    if first is None or (beside / first).exists() or not os.path.exists(first):
        return beside
    return Path()


def _is_inner(name):
    path = PurePath(name)
    return not path.is_absolute() and not {"..", "~"}.intersection(path.parts)


def _read_lines(path, file) -> Iterator[tuple[str, str]]:
    for line in file:
        if line.strip():
            yield line.strip(), ""


def _read_scp(path, file):
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        identity, name = [*line.strip().split(maxsplit=1), ""][:2]
        if not name or name.endswith("|") or not _is_inner(identity):
            raise UserError(
                f"Line {number} of {path} is {line.strip()!r}; it must be an "
                "ID and the path of a file, without commands (|)."
            )
        yield name, identity


def _read_csv(path, file):
    reader = csv.DictReader(file)
    key = next((k for k in PATH_KEYS if k in (reader.fieldnames or ())), None)
    if key is None:
        raise UserError(
            f"{path} has no column of files; name it one of "
            f"{', '.join(PATH_KEYS)} in the first line."
        )
    for row in reader:
        if not row[key]:
            raise UserError(
                f"Line {reader.line_num} of {path} has no {key}; fill it in "
                "or remove the line."
            )
        yield row[key], ""


def _read_json_lines(path, file):
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            names = [entry[key] for key in PATH_KEYS if key in entry]
        except (ValueError, TypeError, RecursionError):
            names = []
        if not names or not isinstance(names[0], str) or not names[0]:
            raise UserError(
                f"Line {number} of {path} names no file; write it like "
                '{"path": "a.wav"}, with one of the keys '
                f"{', '.join(PATH_KEYS)}."
            )
        yield names[0], ""


_READERS = {
    ".scp": _read_scp,
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".txt": _read_lines,
    ".lst": _read_lines,
}
