"""What differs between the settings of runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

#: How many of its own settings a run's row has.
SHOWN = 6
#: Shown where a run has no such setting.
ABSENT = "-"


def flatten(settings: Mapping[str, Any]) -> dict[str, str]:
    """Writes nested settings as one line each, ``part.key`` and its value.

    Example
    -------
    >>> flatten({"lr": 1e-3, "net": {"!tag": "!new:a.PHASEN", "blocks": 3}})
    {'lr': '0.001', 'net': 'PHASEN', 'net.blocks': '3'}
    """
    flat = {}

    def add(name, value):
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(name if key == "!tag" else f"{name}.{key}", inner)
        elif isinstance(value, list) and any(
            isinstance(inner, Mapping) for inner in value
        ):
            for number, inner in enumerate(value):
                add(f"{name}.{number}", inner)
        else:
            flat[name] = _to_text(value)

    for key, value in settings.items():
        add(key, value)
    return flat


def _to_text(value):
    if isinstance(value, list):
        return f"[{', '.join(map(_to_text, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    if text.startswith(("!new:", "!name:", "!apply:")):
        return text.rpartition(".")[2]
    return text


def find_differences(
    settings: Sequence[Mapping[str, Any]],
) -> dict[str, list[str]]:
    """Finds the settings that are not the same in all runs.

    Runs without any settings are left out of the comparison. Newer settings
    that older runs lack, and that are off, are no difference; parts of objects
    that follow another setting are not repeated.

    Returns the values, one for each run, by the name of the setting.

    Example
    -------
    >>> find_differences([{"lr": 0.1, "opt": {"lr": 0.1}},
    ...                   {"lr": 0.2, "opt": {"lr": 0.2}, "new": False}])
    {'lr': ['0.1', '0.2']}
    """
    flat = [flatten(one) for one in settings]
    names = dict.fromkeys(name for one in flat for name in one)
    differences: dict[str, list[str]] = {}
    seen: set[tuple[str, ...]] = set()
    # Settings themselves come before parts of objects that repeat them.
    for name in sorted(names, key=lambda name: "." in name):
        values = [one.get(name, ABSENT) for one in flat]
        known = {value for value, one in zip(values, flat, strict=True) if one}
        off = {"None", "False", "0", "", "[]", ABSENT}
        if len(known) < 2 or (ABSENT in known and known <= off):
            continue
        if "." in name and tuple(values) in seen:
            continue
        seen.add(tuple(values))
        differences[name] = values
    return differences


def describe_own(
    differences: Mapping[str, Sequence[str]], index: int
) -> list[str]:
    """Lists how a run differs from what most runs have, ``key=value``.

    After the first :data:`SHOWN` their number follows.

    Example
    -------
    >>> describe_own({"lr": ["1", "2", "1"], "seed": ["5", "6", "7"]}, 1)
    ['lr=2', 'seed=6']
    """
    own = []
    for name, values in differences.items():
        [(usual, count)] = Counter(values).most_common(1)
        value = values[index]
        if value != ABSENT and (value != usual or count == 1):
            own.append(f"{name}={value}")
    more = [f"and {len(own) - SHOWN} more"] if own[SHOWN:] else []
    return own[:SHOWN] + more
