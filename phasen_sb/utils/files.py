"""Reads JSON, and writes files that are there in full or not at all."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phasen_sb.errors import UserError


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Writes a file so that it is there in full or not at all.

    Text is written as UTF-8; the file's folder is made where missing.

    Raises a :class:`phasen_sb.errors.UserError` if the file cannot be written:
    disk full, no permission.
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
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason}); {fix}.") from error


def remove_partial(part: Path) -> None:
    """Removes what a failed write left behind, as far as possible."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        # The folder itself may be what cannot be written.
        pass
