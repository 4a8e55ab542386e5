"""Divides recordings into training, validation and test."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from phasen_sb.errors import UserError

#: Split -> utterance id -> key ("noisy_wav", ...) -> file.
Splits = dict[str, dict[str, dict[str, Path]]]


def split_items(
    items: dict[str, dict[str, Path]],
    valid_fraction: float,
    test_fraction: float,
    group_regex: str | None = None,
) -> Splits:
    """Splits items into ``train``, ``valid`` and ``test`` by their names.

    No split is empty. The fractions and ``group_regex`` are as for
    :func:`phasen_sb.data.pairs.prepare_pairs`.

    Raises a :class:`phasen_sb.errors.UserError` if these are invalid, or there
    are fewer than three groups.
    """
    for name, value in (
        ("valid_fraction", valid_fraction),
        ("test_fraction", test_fraction),
    ):
        if not 0 < value < 1:
            raise UserError(f"{name} is {value}; it must be between 0 and 1.")
    if valid_fraction + test_fraction >= 1:
        raise UserError(
            f"valid_fraction {valid_fraction} and test_fraction "
            f"{test_fraction} leave nothing to train on; make them smaller."
        )
    groups = {name: _find_group(name, group_regex) for name in items}
    position = {group: hash_to_position(group) for group in groups.values()}
    ordered = sorted(position, key=lambda group: (position[group], group))
    if len(ordered) < 3:
        kind = "groups of files" if group_regex else "files"
        raise UserError(
            f"There are {len(ordered)} {kind}, but train, valid and test need "
            "at least one each; add some."
        )
    tests = _count_below(ordered, position, test_fraction)
    both = test_fraction + valid_fraction
    valids = _count_below(ordered, position, both) - tests
    tests = max(1, min(tests, len(ordered) - 2))
    valids = max(1, min(valids, len(ordered) - tests - 1))
    chosen = {
        "train": set(ordered[tests + valids :]),
        "valid": set(ordered[tests : tests + valids]),
        "test": set(ordered[:tests]),
    }
    return {
        split: {n: e for n, e in items.items() if groups[n] in members}
        for split, members in chosen.items()
    }


def _find_group(name: str, group_regex: str | None) -> str:
    if not group_regex:
        return name
    try:
        match = re.search(group_regex, name)
    except re.error as error:
        raise UserError(
            f"group_regex {group_regex!r} is not a regular expression: {error}."
        ) from None
    if not match:
        raise UserError(
            f"group_regex {group_regex!r} finds nothing in the name {name}; "
            "change it so that it matches every file."
        )
    return match.group(1 if match.re.groups else 0) or ""


def hash_to_position(group: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _count_below(
    ordered: Iterable[str], position: dict[str, float], limit: float
) -> int:
    return sum(position[group] < limit for group in ordered)
