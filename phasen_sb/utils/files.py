"""Reads JSON, and writes files that are there in full or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phasen_sb.errors import UserError


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
        remove_partial(part)
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


def read_json(path: str | Path, fix: str) -> Any:
    """Reads a JSON file.

    Arguments
    ---------
    path : str or pathlib.Path
        The file.
    fix : str
        What the user can do if it cannot be read, the end of the error's
        sentence, such as ``run what wrote it again``.

    Returns
    -------
    dict or list
        Its content.

    Raises
    ------
    UserError
        If there is no such file, or it is damaged.

    Example
    -------
    >>> path = getfixture("tmp_path") / "scores.json"
    >>> write_json(path, {"stoi": 0.9})
    >>> read_json(path, "run what wrote it again")
    {'stoi': 0.9}
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); {fix}.") from error


def remove_partial(part: Path) -> None:
    """Removes what a failed write left behind, as far as possible.

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
