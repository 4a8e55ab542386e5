"""YAML files as they are written: found and parsed, nothing built."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from phasen_sb.configuration.checks import suggest
from phasen_sb.configuration.duplicates import name_duplicate
from phasen_sb.errors import UserError


def find_hparams(name: str | Path) -> Path:
    """Finds a YAML file: as a path, else among those of the package.

    Those are named as in ``hparams/phasen.yaml``. Raises UserError, which
    suggests the nearest name, if there is no such file.
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

    Returns a dict that knows tags and comments. Raises UserError if the file
    cannot be read, is not valid YAML, or holds no keys.
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
    """Parses YAML, usually to a CommentedMap; an empty text to an empty dict.

    Raises UserError if it is not valid; ``subject`` begins that sentence, such
    as ``"mine.yaml is"``.
    """
    try:
        return YAML().load(text) or {}
    except YAMLError as error:
        error = name_duplicate(error, text)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise UserError(
            f"{subject} not valid YAML: {problem}{line}."
        ) from error


def to_plain(node: Any) -> Any:
    """Makes what :func:`read_yaml` returns, or a part of it, ready for JSON.

    An object becomes a mapping of its arguments, its class under ``!tag``.
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
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (bool, int, float, str):  # ruamel's are subclasses
        if isinstance(node, kind):
            return kind(node)
    return node
