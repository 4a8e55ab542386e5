"""Reads who made each recording of a source, and its licence."""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

#: Author and licence by path of a file in the source.
Credits = dict[str, tuple[str, str]]


def read_folder_lists(root: Path) -> Credits:
    """Reads a file ``LICENSE`` of the voices of GCompris.

    It lists the files of one folder after the other: ``./fr/words:``, then
    lines of a name, the author and the licence behind a slash.
    """
    credits: Credits = {}
    folder = ""
    text = (root / "LICENSE").read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("./") and line.endswith(":"):
            folder = line[2:-1]
            continue
        name, _, rest = line.partition(" ")
        if "." not in name or not rest:
            continue
        author, slash, licence = rest.strip().rpartition("/")
        if not slash or not licence.strip():
            author, licence = "", rest
        if author.startswith("http"):
            author, licence = rest.split()[0], " ".join(rest.split()[1:])
        author = re.sub(r"\s*(<.*?>|- \S+@\S+|\(?\b\d{4}\)?)", "", author)
        credits[f"{folder}/{name}"] = (author.strip(), licence.strip())
    return credits


def read_markdown_tables(root: Path) -> Credits:
    """Reads the files ``credits.md`` of the sound packs of Cataclysm.

    Each has a table of the files of its folder: name, author, licence.
    """
    credits: Credits = {}
    for path in sorted(root.rglob("credits.md")):
        folder = path.parent.relative_to(root)
        for line in path.read_text("utf-8", errors="replace").splitlines():
            cells = [cell.strip(" *") for cell in line.split("|")[1:-1]]
            if len(cells) >= 3 and PurePosixPath(cells[0]).suffix:
                name = (folder / cells[0]).as_posix()
                credits[name] = (cells[1], cells[2])
    return credits


READERS: dict[str, Callable[[Path], Credits]] = {
    "folder_lists": read_folder_lists,
    "markdown_tables": read_markdown_tables,
}
