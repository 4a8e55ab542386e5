"""Files that are there in full or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

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


def remove_partial(part: Path) -> None:
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
