"""Finds an argument of a recipe's object that is of another kind than it takes.

Given a word instead of a number, a class raises what it comes upon, which names
neither the argument nor its value, or takes ``no`` for true.
"""

import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def find_wrong_argument(
    tree: Any, is_known: Callable[[str], bool]
) -> str | None:
    """Says which argument is of a kind that its class does not take.

    Arguments
    ---------
    tree : mapping
        What :meth:`phasen_sb.configuration.recipe.Recipe.resolve` returns.
    is_known : callable
        Whether a class or function, of that dotted name, is looked at: its
        module is imported.

    Returns
    -------
    str or None
        A sentence, or None if there is no such argument.

    Example
    -------
    >>> find_wrong_argument({"network": {
    ...     "!tag": "!new:phasen_sb.PHASEN", "filter_kernel": 3
    ... }}, lambda name: True)
    'filter_kernel of phasen_sb.PHASEN is 3; it must be a list of whole numbers
    or null.'
    """
    for name, arguments in _find_objects(tree):
        parameters = _read_parameters(name) if is_known(name) else {}
        for key, parameter in parameters.items():
            if key in arguments and not _fits_parameter(
                arguments[key], parameter
            ):
                return (
                    f"{key} of {name} is {arguments[key]!r}; it must be "
                    f"{_describe(parameter.annotation)}."
                )
    return None


def _find_objects(tree) -> Iterator[tuple[str, Mapping]]:
    if isinstance(tree, Mapping):
        kind, _, name = str(tree.get("!tag", "")).partition(":")
        # Under "items" are arguments without names.
        if kind in ("!new", "!name", "!apply") and "items" not in tree:
            yield name, tree
        for value in tree.values():
            yield from _find_objects(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _find_objects(value)


def _read_parameters(name) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(locate(name), eval_str=True).parameters
    # Whatever a module of the user's raises; it is reported elsewhere.
    except Exception:
        return {}


def _fits_parameter(value, parameter):
    several = parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD
    return (
        parameter.kind in several
        or (value is None and parameter.default is None)
        or _fits(value, parameter.annotation)
    )


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
    if _is_sequence(hint):
        if isinstance(value, str):  # a tuple, which is read when it is built
            return value.startswith("(")
        items = _items_of(hint)
        return isinstance(value, list) and (
            items is None or all(_fits(item, items) for item in value)
        )
    if not _is_kind(hint):
        return True
    if isinstance(value, bool):
        return hint is bool
    if hint is int and isinstance(value, float):  # of a division
        return value.is_integer()
    return isinstance(value, (int, float) if hint is float else hint)


def _is_kind(hint):
    return isinstance(hint, type) and hint in KINDS


def _is_sequence(hint):
    return any(
        (get_origin(hint) or hint) is kind for kind in (list, tuple, Sequence)
    )


def _items_of(sequence):
    """The hint of all items; None if they have none, or one each."""
    items = [item for item in get_args(sequence) if item is not ...]
    return items[0] if len(items) == 1 else None


def _describe(hint, several=False) -> str:
    return " or ".join(
        _describe_one(choice, several) for choice in _choices(hint)
    )


def _describe_one(hint, several):
    if _is_kind(hint):
        return KINDS[hint][several]
    if not _is_sequence(hint):
        return "objects" if several else "an object"
    called = "lists" if several else "a list"
    items = _items_of(hint)
    return called if items is None else f"{called} of {_describe(items, True)}"
