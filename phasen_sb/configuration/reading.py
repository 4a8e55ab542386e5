"""YAML files as they are written: found and parsed, nothing built."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.error import YAMLError

from phasen_sb.configuration.checks import suggest
from phasen_sb.errors import UserError


def find_hparams(name: str | Path) -> Path:
    """Finds a YAML file: as a path, else among those of the package.

    Arguments
    ---------
    name : str or pathlib.Path
        A path, or a packaged file such as ``hparams/phasen.yaml``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    UserError
        If there is no such file; the nearest name is suggested.

    Example
    -------
    >>> find_hparams("hparams/phasen.yaml").name
    'phasen.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    packaged = Path(str(files("phasen_sb.hparams")))
    inner = path.relative_to("hparams") if path.parts[0] == "hparams" else path
    if not path.is_absolute() and (packaged / inner).is_file():
        return packaged / inner
    near = suggest(path.name, [f.name for f in packaged.rglob("*.yaml")])
    raise UserError(f"There is no hyperparameter file {name}{near}")


def read_yaml(path: Path) -> CommentedMap:
    """Reads a YAML as it is written: no references, no objects.

    Arguments
    ---------
    path : pathlib.Path
        The YAML file.

    Returns
    -------
    CommentedMap
        A dict that knows tags and comments.

    Raises
    ------
    UserError
        If it cannot be read, is not valid YAML, or holds no keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    tree = parse_yaml(text, f"{path} is")
    if not tree or not isinstance(tree, dict):
        raise UserError(f"{path} holds no 'key: value' pairs.")
    return tree


def parse_yaml(text: str, subject: str) -> Any:
    """Parses YAML.

    Arguments
    ---------
    text : str
        The YAML.
    subject : str
        What begins the sentence that says that it is not valid.

    Returns
    -------
    object
        Usually a CommentedMap; an empty dict of an empty text.

    Raises
    ------
    UserError
        If it is not valid.

    Example
    -------
    >>> parse_yaml("{lr: 0.1", "mine.yaml is")
    Traceback (most recent call last):
    ...
    phasen_sb.errors.UserError: mine.yaml is not valid YAML: expected ',' or
    '}', but got '<stream end>' in line 1.
    """
    try:
        return YAML().load(text) or {}
    except YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise UserError(
            f"{subject} not valid YAML: {problem}{line}."
        ) from error


def to_plain(node: Any) -> Any:
    """Makes plain values of what :func:`read_yaml` gives.

    Arguments
    ---------
    node : object
        A value, or a whole tree.

    Returns
    -------
    object
        Ready for JSON; an object is a mapping of its arguments, its class
        under ``!tag``.

    Example
    -------
    >>> to_plain(YAML().load("a: !new:my.Net {b: 1}"))
    {'a': {'!tag': '!new:my.Net', 'b': 1}}
    """
    tag = getattr(getattr(node, "tag", None), "value", None)
    if isinstance(node, dict):
        items = {str(key): to_plain(value) for key, value in node.items()}
        return {"!tag": tag} | items if tag else items
    if isinstance(node, list):
        items = [to_plain(item) for item in node]
        return {"!tag": tag, "items": items} if tag else items
    if isinstance(node, TaggedScalar):
        return f"{tag} {node.value}".strip()
    for kind in (bool, int, float, str):  # ruamel's are subclasses
        if isinstance(node, kind):
            return kind(node)
    return node
