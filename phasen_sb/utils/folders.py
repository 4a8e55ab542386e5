"""Folders that a user names: found, listed and kept apart."""

import difflib
import os
from pathlib import Path

from phasen_sb.errors import UserError


def nearest_sibling(path: str | Path) -> Path | None:
    """Finds the existing folder whose name is closest to a missing one's.

    It is the folder that was probably meant; None where no name is close.
    """
    path = Path(path)
    if not path.parent.is_dir():
        parent = nearest_sibling(path.parent)
        if parent is None:
            return None
        path = parent / path.name
        if path.is_dir():
            return path
    names = {name.lower(): name for name in list_folders(path.parent)}
    close = difflib.get_close_matches(path.name.lower(), names, 1, 0.6)
    return path.parent / names[close[0]] if close else None


def list_folders(folder: Path) -> list[str]:
    """Lists the names of the folders in a folder; none if it is unreadable."""
    try:
        return sorted(p.name for p in folder.iterdir() if p.is_dir())
    except OSError:
        return []


def existing_folder(path: str | Path, name: str) -> Path:
    """Returns the absolute path of a folder that the user named.

    ``name`` is what the folder is called in the error, such as
    ``data_folder``.

    Raises a :class:`phasen_sb.errors.UserError` if the folder does not exist,
    with the nearest name that does, or if it is a file.
    """
    folder = Path(path).expanduser().absolute()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise UserError(f"{name} {folder} is a file; give the folder it is in.")
    nearest = nearest_sibling(folder)
    hint = f"did you mean {nearest}?" if nearest else "check the path."
    raise UserError(f"{name} {folder} does not exist; {hint}")


def make_writable_folder(path: str | Path, name: str) -> Path:
    """Makes the folder of results before the work, not after it.

    Returns its absolute path. ``name`` is what the folder is called in the
    error, such as ``--out``.

    Raises a :class:`phasen_sb.errors.UserError` if the folder cannot be made
    or written to.
    """
    folder = Path(path).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {name} {folder} cannot be made: {error.strerror}; "
            "choose another one."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"The folder {name} {folder} cannot be written to; choose another "
            "one."
        )
    return folder


def check_apart(one: Path, one_name: str, two: Path, two_name: str) -> None:
    """Refuses two folders of which one contains the other.

    The names are what the folders are called in the
    :class:`phasen_sb.errors.UserError` that is raised if they are the same
    folder, or one lies in the other.
    """
    one_real, two_real = one.resolve(), two.resolve()
    if one_real == two_real:
        raise UserError(
            f"{one_name} and {two_name} are both {one}; give two folders."
        )
    if one_real in two_real.parents or two_real in one_real.parents:
        raise UserError(
            f"{one_name} {one} and {two_name} {two} lie in one another, so "
            "that some files would count as both; put them side by side."
        )
