"""Finds a key that stands twice in an object of a YAML.

Of an object's mapping ruamel says that it knows no such tag instead.
"""

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode


def name_duplicate(error: YAMLError, text: str) -> YAMLError:
    """Returns an error that names the duplicate key, if that is the cause.

    Otherwise returns ``error``, which loading ``text`` raised.

    Example
    -------
    >>> text = "a: !new:my.Class {b: 1, b: 2}"
    >>> try:
    ...     YAML().load(text)
    ... except YAMLError as error:
    ...     print(name_duplicate(error, text).problem)
    found duplicate key 'b'
    """
    if not isinstance(error, ConstructorError):
        return error
    waiting, seen = [YAML().compose(text)], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            names = set()
            for key, value in node.value:
                if isinstance(key.value, str) and key.value in names:
                    return MarkedYAMLError(
                        problem=f"found duplicate key {key.value!r}",
                        problem_mark=key.start_mark,
                    )
                names.add(str(key.value))
                waiting.append(value)
    return error
