"""YAML files, and command lines, that replace entries of a recipe's YAML.

A file that says only what differs names the file it goes over:

    base: ../phasen.yaml
    name: mine
    network: !new:my.Network

Its keys replace the base's entries as a whole, object and all, and may be
new. So does an object on the command line, ``--network "!new:my.Network {}"``;
HyperPyYAML by itself would put its arguments into the old object.

Entries that only what was replaced referred to are left out, so that setting
them is an error and not a silent nothing.

Authors
 * The phasen_sb authors 2026
"""

import atexit
import io
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from phasen_sb.configuration import RECIPE_KEYS, read_yaml
from phasen_sb.errors import UserError

BASE = "base"


def expand(path: Path, overrides: str = "") -> tuple[Path, str]:
    """Writes a recipe's YAML out with all replacements made.

    Arguments
    ---------
    path : pathlib.Path
        The YAML, whole or with a ``base``.
    overrides : str
        YAML text of the command line's overrides.

    Returns
    -------
    path : pathlib.Path
        ``path`` itself if nothing replaces anything, else a file of the same
        name in a temporary folder, with the base's ``sample.yaml`` beside it.
    overrides : str
        Those that replace no object.

    Raises
    ------
    phasen_sb.errors.UserError
        If the base is missing.

    Example
    -------
    >>> from phasen_sb.configuration import find_hparams
    >>> base = find_hparams("hparams/phasen.yaml").resolve()
    >>> mine = getfixture("tmp_path") / "mine.yaml"
    >>> _ = mine.write_text(f"base: {base}\\nlr: 0.1")
    >>> path, rest = expand(mine, "{network: !new:my.Net {a: 1}, seed: 2}")
    >>> rest.strip()
    '{seed: 2}'
    >>> read_yaml(path)["lr"], dict(read_yaml(path)["network"])
    (0.1, {'a': 1})
    """
    written = read_yaml(path)
    base_path = path
    replacements = {}
    if BASE in written:
        base_path = path.parent / str(written.pop(BASE))
        if not base_path.is_file():
            raise UserError(
                f"{path} goes over {base_path}, which does not exist; mend "
                f"its key {BASE!r}."
            )
        replacements, written = written, read_yaml(base_path)
    objects, overrides = _take_objects(overrides, {*written, *replacements})
    replacements = {**replacements, **objects}
    if not replacements:
        return path, overrides
    before = _references(written)
    for key, value in replacements.items():
        written[key] = value
    _prune(written, before)
    folder = Path(tempfile.mkdtemp(prefix="phasen-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sample = base_path.with_name("sample.yaml")
    if sample.is_file():
        kept = {k: v for k, v in read_yaml(sample).items() if k in written}
        (folder / sample.name).write_text(_dump(kept), encoding="utf-8")
    (folder / path.name).write_text(_dump(written), encoding="utf-8")
    return folder / path.name, overrides


def _take_objects(overrides, known):
    """Splits overrides into objects with arguments, and the others' text."""
    try:
        given = YAML().load(overrides)
    except YAMLError:
        return {}, overrides  # the loader will say what is wrong
    if not isinstance(given, Mapping):
        return {}, overrides
    objects = {
        key: value
        for key, value in given.items()
        if key in known and isinstance(value, Mapping) and value.tag.value
    }
    if not objects:
        return {}, overrides
    for key in objects:
        del given[key]
    return objects, _dump(given)


def _prune(merged, before):
    """Removes what was referred to before, no longer is, and nobody reads."""
    known = (before & set(merged)) - RECIPE_KEYS
    while orphans := (known - _references(merged)) & set(merged):
        for key in orphans:
            del merged[key]


def _references(tree):
    return set(re.findall(r"<(\w+)", _dump(tree)))


def _dump(tree):
    text = io.StringIO()
    YAML().dump(tree, text)
    return text.getvalue()
