"""YAML files that say only what differs from another one.

An overlay names the file it goes over with its key ``base``:

    base: ../phasen.yaml
    name: mine
    network: !new:my.Network

Unlike an override on the command line, a key of an overlay replaces the
base's entry as a whole, object and all, and may add new keys. Entries of the
base that only what was replaced referred to are left out, so that setting
them is an error and not a silent nothing.

Authors
 * The phasen_sb authors 2026
"""

import atexit
import io
import re
import shutil
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from phasen_sb.configuration import RECIPE_KEYS, read_yaml
from phasen_sb.errors import UserError

BASE = "base"


def expand(path: Path) -> Path:
    """Writes an overlay out as one whole YAML file.

    Arguments
    ---------
    path : pathlib.Path
        A recipe's YAML.

    Returns
    -------
    pathlib.Path
        ``path`` itself if it is no overlay, else a file of the same name in
        a temporary folder, with the base's ``sample.yaml`` beside it.

    Raises
    ------
    phasen_sb.errors.UserError
        If the base is missing.

    Example
    -------
    >>> from phasen_sb.configuration import find_hparams
    >>> folder = getfixture("tmp_path")
    >>> base = find_hparams("hparams/phasen.yaml").resolve()
    >>> mine = folder / "mine.yaml"
    >>> _ = mine.write_text(f"base: {base}\\nlr: 0.1")
    >>> read_yaml(expand(mine))["lr"]
    0.1
    """
    overlay = read_yaml(path)
    if BASE not in overlay:
        return path
    base_path = path.parent / str(overlay.pop(BASE))
    if not base_path.is_file():
        raise UserError(
            f"{path} goes over {base_path}, which does not exist; mend its "
            f"key {BASE!r}."
        )
    merged = read_yaml(base_path)
    before = _references(merged)
    for key, value in overlay.items():
        merged[key] = value
    _prune(merged, before)
    folder = Path(tempfile.mkdtemp(prefix="phasen-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sample = base_path.with_name("sample.yaml")
    if sample.is_file():
        shutil.copy(sample, folder)
    with open(folder / path.name, "w", encoding="utf-8") as file:
        YAML().dump(merged, file)
    return folder / path.name


def _prune(merged, before):
    """Removes what was referred to before, no longer is, and nobody reads."""
    known = before & set(merged) - RECIPE_KEYS
    while orphans := (known - _references(merged)) & set(merged):
        for key in orphans:
            del merged[key]


def _references(tree):
    text = io.StringIO()
    YAML().dump(tree, text)
    return set(re.findall(r"<(\w+)", text.getvalue()))
