"""Finds an argument of a recipe's object that is of another kind than it takes.

Given a word instead of a number, a class raises what it comes upon, which names
neither the argument nor its value, or takes ``no`` for true.
"""

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from pydoc import locate
from typing import Any, Union, get_args, get_origin

#: What a value is called, and several of them.
KINDS = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    type(None): ("null", "null"),
}


def find_wrong_argument(tree: Any, module: str = "") -> str | None:
    """Says which argument is of a kind that its class does not take.

    Arguments
    ---------
    tree : mapping
        What :meth:`phasen_sb.configuration.recipe.Recipe.resolve` returns.
    module : str
        Only classes and functions whose names begin so are looked at.

    Returns
    -------
    str or None
        A sentence, or None if there is no such argument.

    Example
    -------
    >>> find_wrong_argument({"network": {
    ...     "!tag": "!new:phasen_sb.PHASEN", "filter_kernel": 3
    ... }})
    'filter_kernel of phasen_sb.PHASEN is 3; it must be a list of whole numbers
    or null.'
    """
    for name, arguments in _find_objects(tree):
        if not name.startswith(module):
            continue
        for key, hint in _read_hints(name).items():
            if key in arguments and not _fits(arguments[key], hint):
                return (
                    f"{key} of {name} is {arguments[key]!r}; it must be "
                    f"{_describe(hint)}."
                )
    return None


def _find_objects(tree) -> Iterator[tuple[str, Mapping]]:
    if isinstance(tree, Mapping):
        kind, _, name = str(tree.get("!tag", "")).partition(":")
        if kind in ("!new", "!name", "!apply"):
            yield name, tree
        for value in tree.values():
            yield from _find_objects(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _find_objects(value)


def _read_hints(name) -> dict[str, Any]:
    try:
        signature = inspect.signature(locate(name), eval_str=True)
    # Whatever a module of the user's raises; it is reported elsewhere.
    except Exception:
        return {}
    return {
        key: parameter.annotation
        for key, parameter in signature.parameters.items()
    }


def _choices(hint):
    if get_origin(hint) in (Union, types.UnionType):
        return get_args(hint)
    return (hint,)


def _fits(value, hint) -> bool:
    """Whether a value of a YAML may be meant; objects always may."""
    return any(_fits_one(value, choice) for choice in _choices(hint))


def _fits_one(value, hint):
    if isinstance(value, Mapping) or str(value).startswith("!"):
        return True
    if isinstance(value, list):
        if _is_sequence(hint):
            items = [item for item in get_args(hint) if item is not ...]
            return not items or all(_fits(x, items[0]) for x in value)
        return hint not in KINDS
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in KINDS:
        return isinstance(value, hint)
    return not _is_sequence(hint)


def _is_sequence(hint):
    kind = get_origin(hint) or hint
    return kind in (list, tuple, Sequence)


def _describe(hint, several=False) -> str:
    return " or ".join(
        _describe_one(choice, several) for choice in _choices(hint)
    )


def _describe_one(hint, several):
    if not _is_sequence(hint):
        return KINDS.get(hint, ("an object", "objects"))[several]
    called = "lists" if several else "a list"
    items = [item for item in get_args(hint) if item is not ...]
    return f"{called} of {_describe(items[0], True)}" if items else called
