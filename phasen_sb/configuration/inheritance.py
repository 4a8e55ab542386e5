"""YAML files, and command lines, that replace entries of a recipe's YAML.

A file that says only what differs names the file it goes over:

    base: ../phasen.yaml
    name: mine
    network: !new:my.Network

Its keys replace the base's entries as a whole, object and all, and may be
new. So does an object on the command line, ``--network "!new:my.Network {}"``;
HyperPyYAML by itself would put its arguments into the old object.

Entries that only what was replaced referred to are left out, so that setting
them is an error and not a silent nothing. The base may have a base itself.

Without data the base's ``sample.yaml`` goes over what such a file says, too;
the command line has the last word.
"""

import atexit
import io
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tag import Tag

from phasen_sb.configuration.recipe import RECIPE_KEYS, read_yaml
from phasen_sb.errors import UserError

BASE = "base"
INCLUDE = "!include:"


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
        If a base is missing, or goes over itself.

    Example
    -------
    >>> from phasen_sb.configuration.recipe import find_hparams
    >>> base = find_hparams("hparams/phasen.yaml").resolve()
    >>> mine = getfixture("tmp_path") / "mine.yaml"
    >>> _ = mine.write_text(f"base: {base}\\nlr: 0.1")
    >>> path, rest = expand(mine, "{network: !new:my.Net {a: 1}, seed: 2}")
    >>> rest.strip()
    '{seed: 2}'
    >>> read_yaml(path)["lr"], dict(read_yaml(path)["network"])
    (0.1, {'a': 1})
    """
    files, layers = _read_chain(path)
    objects, overrides = _take_objects(overrides, set().union(*layers))
    if objects:
        files.append(path)
        layers.append(objects)
    if len(layers) == 1:
        return path, overrides
    # The included file lies beside the layer that names it, or a lower one.
    folders = [file.parent for file in files]
    for i, layer in enumerate(layers):
        _find_includes(layer, folders[i::-1])
    merged, orphans = layers[0], set()
    for layer in layers[1:]:
        orphans = (orphans | _references(merged)) - set(layer)
        merged.update(layer)
    folder = Path(tempfile.mkdtemp(prefix="phasen-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sample = files[0].with_name("sample.yaml")
    if sample.is_file():
        values = read_yaml(sample)
        removed = _prune(merged, orphans | _references(values))
        text = _dump({k: v for k, v in values.items() if k in merged})
        # What the sample alone refers to enters it by value.
        for key, value in removed.items():
            text = text.replace(f"<{key}>", str(getattr(value, "value", value)))
        (folder / sample.name).write_text(text, encoding="utf-8")
    else:
        _prune(merged, orphans)
    (folder / path.name).write_text(_dump(merged), encoding="utf-8")
    return folder / path.name, overrides


def _read_chain(path):
    """Reads a YAML and the bases below it; the lowest comes first."""
    files, layers = [path], [read_yaml(path)]
    while BASE in layers[0]:
        base = files[0].parent / str(layers[0].pop(BASE))
        if not base.is_file():
            raise UserError(
                f"{files[0]} goes over {base}, which does not exist; mend "
                f"its key {BASE!r}."
            )
        if any(base.samefile(file) for file in files):
            raise UserError(
                f"{files[0]} goes over {base}, which goes over itself; mend "
                f"its key {BASE!r}."
            )
        files.insert(0, base)
        layers.insert(0, read_yaml(base))
    if layers[1:]:
        for layer in layers:
            _remove_comments(layer)
    return files, layers


def _remove_comments(node):
    """Removes what ruamel would write between an object and its arguments."""
    if hasattr(node, "ca"):
        node.ca.comment = None
        node.ca.items.clear()
    if isinstance(node, Mapping):
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            _remove_comments(part)


def _find_includes(node, folders):
    """Makes the paths of ``!include:`` absolute."""
    tag = getattr(getattr(node, "tag", None), "value", None) or ""
    if tag.startswith(INCLUDE):
        name = tag.removeprefix(INCLUDE)
        for folder in folders:
            if (found := folder / name).is_file():
                found = quote(os.path.abspath(found))
                node.yaml_set_ctag(Tag(suffix=INCLUDE + found))
                break
    if isinstance(node, Mapping):
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            _find_includes(part, folders)


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


def _prune(merged, orphans):
    """Removes, and returns, those of the orphans that nobody reads."""
    removed = {}
    orphans = orphans - RECIPE_KEYS
    while unread := (orphans - _references(merged)) & set(merged):
        for key in unread:
            removed[key] = merged.pop(key)
    return removed


def _references(tree):
    return set(re.findall(r"<(\w+)", _dump(tree)))


def _dump(tree):
    if not tree:
        return ""  # "{}" is no empty command line
    text = io.StringIO()
    YAML().dump(tree, text)
    return text.getvalue()
