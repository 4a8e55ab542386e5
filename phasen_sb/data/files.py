"""Folders, audio files, atomic writes and work on many files at once.

Authors
 * The phasen_sb authors 2026
"""

import difflib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from speechbrain.utils.parallel import get_available_cpu_count, parallel_map

from phasen_sb.errors import UserError

AUDIO_SUFFIXES = frozenset(
    ".wav .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .caf .w64 .rf64"
    " .sph .nist .voc".split()
)


def nearest_sibling(path: str | Path) -> Path | None:
    """Finds the existing folder whose name is most like a missing one's.

    Arguments
    ---------
    path : str or pathlib.Path
        A folder that does not exist.

    Returns
    -------
    pathlib.Path or None
        The folder that was probably meant; None where nothing is like it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "VoiceBank").mkdir()
    >>> nearest_sibling(folder / "VoiceBnak").name
    'VoiceBank'
    """
    path = Path(path)
    if not path.parent.is_dir():
        parent = nearest_sibling(path.parent)
        if parent is None:
            return None
        path = parent / path.name
        if path.is_dir():
            return path
    names = {name.lower(): name for name in folder_names(path.parent)}
    close = difflib.get_close_matches(path.name.lower(), names, 1, 0.6)
    return path.parent / names[close[0]] if close else None


def folder_names(folder: Path) -> list[str]:
    """Lists the folders in a folder.

    Arguments
    ---------
    folder : pathlib.Path
        Where to look.

    Returns
    -------
    list of str
        Their names, sorted; none if it may not be read.
    """
    try:
        return sorted(p.name for p in folder.iterdir() if p.is_dir())
    except OSError:
        return []


def existing_folder(path: str | Path, name: str) -> Path:
    """Returns the absolute path of a folder that the user named.

    Arguments
    ---------
    path : str or pathlib.Path
        What the user gave.
    name : str
        What the folder is called in the error, such as ``data_folder``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UserError
        If it does not exist, with the nearest name that does, or if it is a
        file.
    """
    folder = Path(path).expanduser().absolute()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{name} {folder} is a file; give the folder it is in.")
    nearest = nearest_sibling(folder)
    hint = f"did you mean {nearest}?" if nearest else "check the path."
    raise UserError(f"{name} {folder} does not exist; {hint}")


def check_apart(one: Path, one_name: str, two: Path, two_name: str) -> None:
    """Refuses two folders of which one holds the other.

    Arguments
    ---------
    one, two : pathlib.Path
        The folders.
    one_name, two_name : str
        What they are called in the error.

    Raises
    ------
    UserError
        If they are one folder, or one lies in the other.
    """
    one_real, two_real = one.resolve(), two.resolve()
    if one_real == two_real:
        raise UserError(
            f"{one_name} and {two_name} are both {one}; give two folders."
        )
    if one_real in two_real.parents or two_real in one_real.parents:
        raise UserError(
            f"{one_name} {one} and {two_name} {two} lie in one another, so "
            "some files would be taken for both; put them side by side."
        )


def find_audio(folder: Path, exclude: Path | None = None) -> dict[str, Path]:
    """Lists the audio files of a folder and of the folders in it.

    Arguments
    ---------
    folder : pathlib.Path
        Where to look. Hidden files and files that are not audio by their
        suffix are left out.
    exclude : pathlib.Path, optional
        A folder to leave out, such as the one that results are written to.

    Returns
    -------
    dict
        From name to path, sorted by name. The name is the path relative to
        ``folder`` without its suffix, with ``__`` for ``/``, so that it can
        name a file of results too.

    Raises
    ------
    UserError
        If there is no audio, or two files have the same name.
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


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Writes a file so that it is there in full or not at all.

    Arguments
    ---------
    path : str or pathlib.Path
        The file; its folder is made where missing.
    content : bytes or str
        What to write; text is written as UTF-8.

    Raises
    ------
    UserError
        If it cannot be written: disk full, no permission.

    Example
    -------
    >>> path = getfixture("tmp_path") / "new" / "file.txt"
    >>> write_atomically(path, "text")
    >>> path.read_text()
    'text'
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    if isinstance(content, str):
        content = content.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part_gone(part)
        raise UserError(
            f"{path} cannot be written: {error.strerror or error}; make room "
            "or choose another folder, then run again."
        ) from error


def write_json(path: str | Path, content: Mapping) -> None:
    """Writes a mapping as indented JSON, in full or not at all.

    Arguments
    ---------
    path : str or pathlib.Path
        The file; its folder is made where missing.
    content : mapping
        What to write.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def part_gone(part: Path) -> None:
    """Removes what a failed write left, as far as that is possible.

    Arguments
    ---------
    part : pathlib.Path
        The unfinished file.
    """
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # The folder itself may be what cannot be written.
        pass


def process_files(
    function: Callable,
    items: Sequence,
    jobs: int | None = None,
    description: str | None = None,
) -> Iterable:
    """Applies a function to many files in parallel, with a progress bar.

    Threads do the work: decoding, hashing and convolution leave the Python
    lock, so processes would gain little, and threads need no fork of a
    process in which torch or CUDA is already running.

    Arguments
    ---------
    function : callable
        Called with one item at a time.
    items : sequence
        What to apply it to.
    jobs : int, optional
        Number of threads; default one for each CPU at hand.
    description : str, optional
        Label of the progress bar.

    Returns
    -------
    list
        The results, in the order of the items.

    Example
    -------
    >>> process_files(len, ["a", "bc"], jobs=2)
    [1, 2]
    """
    jobs = get_available_cpu_count() if jobs is None else max(1, int(jobs))
    threads = torch.get_num_threads()
    # One thread of torch each, lest they crowd one another out.
    pool = ThreadPoolExecutor(
        jobs, initializer=torch.set_num_threads, initargs=(1,)
    )
    try:
        return list(
            parallel_map(
                function,
                items,
                executor=pool,
                progress_bar_kwargs={
                    "desc": description,
                    "unit": "file",
                    "leave": False,
                    "disable": None if len(items) > 1 else True,
                },
            )
        )
    finally:
        pool.shutdown(cancel_futures=True)
        # Threads that torch starts later would take over the workers' number.
        torch.set_num_threads(threads)
