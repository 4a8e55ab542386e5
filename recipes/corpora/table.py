"""The table of sources, ``sources.yaml``."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from phasen_sb.errors import UserError, choose

from .credits import READERS

#: Licences that allow changed copies for any purpose.
FREE = re.compile(
    r"\b(A?GPL|GNU GPL|GPLV\d|FDL|FreeArt|CC[ -]?0|CC[ -]BY|BSD|MIT|"
    r"Public Domain|Creative Common License BY)",
    re.IGNORECASE,
)
#: Parts of the names of those that do not, however they are written.
NOT_FREE = re.compile(
    r"(?<![a-z])(NC|ND)(?![a-z])|Non.?Commercial|No.?(n.?)?Deriv|Sampling",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Files:
    """Recordings of one voice, or of one kind of noise, in a source.

    ``files`` and ``but`` are shell patterns of paths in the source, in which
    ``*`` matches ``/``, too. ``label`` is the voice or the kind of noise; in it
    and in ``language``, ``{author}`` and ``{folder}``, the first one of the
    path, are replaced for each file. With ``credits`` (a parser of
    ``credits.py``) author and licence are each file's own, and files without
    are left out. ``events`` are single sounds,
    such as steps, which are strung together.
    """

    label: str
    files: tuple[str, ...]
    but: tuple[str, ...] = ()
    language: str = ""
    author: str = ""
    licence: str = ""
    credits: str = ""
    events: bool = False
    least_snr: float = 30.0

    def match(self, path: str) -> bool:
        """Whether a file of the source is among them."""
        return any(fnmatchcase(path, one) for one in self.files) and not any(
            fnmatchcase(path, one) for one in self.but
        )

    def fill(self, author: str, folder: str) -> tuple[str, str]:
        """Returns label and language of a file; KeyError for other words."""
        words = {"author": author, "folder": folder}
        return self.label.format(**words), self.language.format(**words)


@dataclass(frozen=True)
class Source:
    """A Debian package, a Git repository or a folder, and what is used of it.

    ``zip`` are patterns of archives in it whose members count as its files.
    """

    name: str
    package: str = ""
    version: str = ""
    repository: str = ""
    commit: str = ""
    folder: str = ""
    zip: tuple[str, ...] = ()
    credit_files: tuple[str, ...] = ()
    speech: tuple[Files, ...] = field(default=())
    noise: tuple[Files, ...] = field(default=())

    def wants(self, path: str) -> bool:
        """Whether a file is needed: a recording, or who made them."""
        return any(one.match(path) for one in self.speech + self.noise) or any(
            fnmatchcase(path, one) for one in self.credit_files
        )

    def digest(self) -> str:
        """A short checksum of all that is said about the source."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Table:
    """All sources, and what is held out of training for validation."""

    sources: tuple[Source, ...]
    far_languages: frozenset[str]
    far_noises: frozenset[str]


def read_table(path: str | Path) -> Table:
    """Reads a table of sources.

    Raises a :class:`phasen_sb.errors.UserError` if it cannot be read, an entry
    has an unknown key or no licence, or two have the same name.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(
            f"The table of sources {path} cannot be read: {error}."
        ) from error
    try:
        sources = tuple(_read_source(one) for one in content["sources"])
        held_out = content["held_out"]
        far = (frozenset(held_out["languages"]), frozenset(held_out["noises"]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a table of sources ({error}); compare it with "
            "recipes/corpora/sources.yaml."
        ) from error
    names = Counter(one.name for one in sources)
    for name, count in names.items():
        if count > 1:
            raise UserError(
                f"{path} has {count} sources named {name}; give each a name of "
                "its own."
            )
    return Table(sources, *far)


def _read_source(entry: dict) -> Source:
    entry = {**entry}
    shared = {
        key: entry.pop(key) for key in ("author", "licence") if key in entry
    }
    for kind in ("speech", "noise"):
        entry[kind] = tuple(
            _read_files({**shared, **one}) for one in entry.get(kind, ())
        )
    source = Source(**_with_tuples(entry, ("zip", "credit_files")))
    for one in source.speech + source.noise:
        if not one.credits and not is_free(one.licence):
            raise UserError(
                f"{one.label} of {source.name} has the licence "
                f"{one.licence!r}, which is not known as free; remove it from "
                "the table of sources."
            )
    return source


def _read_files(entry: dict) -> Files:
    files = Files(**_with_tuples(entry, ("files", "but")))
    if files.credits:
        choose(f"credits of {files.label}", files.credits, list(READERS))
    files.fill(author="", folder="")
    return files


def _with_tuples(entry: dict, keys: Iterable[str]) -> dict:
    for key in keys:
        value = entry.get(key, ())
        entry[key] = (value,) if isinstance(value, str) else tuple(value)
    return entry


def is_free(licence: str) -> bool:
    """Whether a licence allows changed copies for any purpose.

    Example
    -------
    >>> [is_free(x) for x in ("GPL V3+", "CC BY-SA 3.0", "CC BY_NC4", "")]
    [True, True, False, False]
    """
    return bool(FREE.search(licence)) and not NOT_FREE.search(licence)
