"""YAML files, and command lines, that replace entries of a recipe's YAML.

A file that says only what differs names the file that it overrides:

    base: ../phasen.yaml
    name: mine
    network: !new:my.Network

Its keys replace the base's entries as a whole, object and all, and may be
new. So does an object on the command line, ``--network "!new:my.Network {}"``;
HyperPyYAML by itself would put its arguments into the old object.

Entries to which only replaced ones referred are left out, so that setting
them is an error and does not silently do nothing. The base may have a base
itself.

Without data the values of the base's ``sample.yaml`` override what all these
files say; the command line overrides both.
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ruamel.yaml import YAML
from ruamel.yaml.tag import Tag

from phasen_sb.configuration.keys import keys_with
from phasen_sb.configuration.reading import read_yaml
from phasen_sb.errors import UserError

BASE = "base"
INCLUDE = "!include:"


def read_chain(path: Path) -> tuple[list[Path], list[dict]]:
    """Reads a YAML and the bases below it.

    Returns the files, the lowest base first and ``path`` last, and what each
    says. Raises UserError if a base is missing, or is based on itself.
    """
    files, layers = [path], [read_yaml(path)]
    while BASE in layers[0]:
        base = files[0].parent / str(layers[0].pop(BASE))
        if not base.is_file():
            raise UserError(
                f"{files[0]} is based on {base}, which does not exist; "
                f"correct its key {BASE!r}."
            )
        if any(base.samefile(file) for file in files):
            raise UserError(
                f"{files[0]} is based on {base}, which is based on itself; "
                f"correct its key {BASE!r}."
            )
        files.insert(0, base)
        layers.insert(0, read_yaml(base))
    if layers[1:]:
        for layer in layers:
            _remove_comments(layer)
    # An included file lies beside the YAML that names it, or a lower one.
    for i, layer in enumerate(layers):
        find_includes(layer, files[i::-1])
    return files, layers


def _remove_comments(node):
    """Removes what ruamel would write between an object and its arguments."""
    if hasattr(node, "ca"):
        node.ca.comment = None
        node.ca.items.clear()
    for part in _parts(node):
        _remove_comments(part)


def _parts(node):
    if isinstance(node, Mapping):
        return list(node.values())
    return node if isinstance(node, list) else []


def find_includes(node: Any, files: list[Path]) -> None:
    """Makes the paths of ``!include:`` absolute, wherever they stand.

    Changes the YAML tree in place; looks beside the given files in their order.
    """
    tag = getattr(getattr(node, "tag", None), "value", None) or ""
    if tag.startswith(INCLUDE):
        name = tag.removeprefix(INCLUDE)
        paths = [file.resolve().parent / name for file in files]
        found = next((path for path in paths if path.is_file()), paths[0])
        node.yaml_set_ctag(Tag(suffix=INCLUDE + quote(str(found))))
    for part in _parts(node):
        find_includes(part, files)


def take_objects(overrides: dict, known: set[str]) -> dict:
    """Takes objects with arguments, which replace others, from overrides.

    The overrides, set on the command line, lose them; ``known`` are the
    recipe's keys.
    """
    names = [
        key
        for key, value in overrides.items()
        if key in known and isinstance(value, Mapping) and value.tag.value
    ]
    return {name: overrides.pop(name) for name in names}


def merge(layers: list[dict], sample: Mapping, applies: bool) -> dict:
    """Puts layers over each other, and leaves out what nothing reads then.

    The lowest layer comes first and is changed. ``sample`` holds the values of
    ``sample.yaml``, which override those of the layers if it ``applies``, but
    add no keys.

    Example
    -------
    >>> base = {"net": "!new:Net <size>", "size": 1, "lr": 2}
    >>> merge([base, {"net": "!new:Other"}], {"lr": 3, "size": 4}, True)
    {'net': '!new:Other', 'lr': 3}
    """
    merged, orphans = layers[0], set()
    for layer in layers[1:]:
        orphans = (orphans | references(merged)) - set(layer)
        merged.update(layer)
    if layers[1:]:
        orphans |= references(sample)
    if applies:
        merged.update({k: v for k, v in sample.items() if k in merged})
    orphans -= keys_with("required")
    while unread := (orphans - references(merged)) & set(merged):
        for key in unread:
            del merged[key]
    return merged


def references(node: Any) -> set[str]:
    """The keys to which a YAML tree, or a part of it, refers.

    Example
    -------
    >>> sorted(references({"a": "<b>/<c>", "d": ["<e[f]>"]}))
    ['b', 'c', 'e']
    """
    text = getattr(node, "value", node)  # a tagged one's
    if isinstance(text, str):
        return set(re.findall(r"<(\w+)", text))
    return set().union(*map(references, _parts(node)))


def dump(tree: Mapping) -> str:
    """Writes a tree as YAML.

    The tree may be plain, or from
    :func:`phasen_sb.configuration.reading.read_yaml`.
    """
    text = io.StringIO()
    YAML().dump(tree, text)
    return text.getvalue()
