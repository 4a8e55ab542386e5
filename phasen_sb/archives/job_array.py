"""Shares files out to the jobs of an array, as Slurm starts them."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from phasen_sb.errors import UserError


def parse_shard(text: str) -> tuple[int, int]:
    """Reads "i/n", the i-th of n shares, counted from 1.

    Raises a :class:`phasen_sb.errors.UserError` if it is something else.

    Example
    -------
    >>> parse_shard("3/16")
    (3, 16)
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    index, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= index <= count:
        raise UserError(
            f"--shard is {text}; it must be i/n with i from 1 to n, such as "
            "3/16. Of a Slurm array of 16, --array=1-16, give "
            "--shard $SLURM_ARRAY_TASK_ID/16."
        )
    return index, count


def select_shard(
    pairs: Sequence[tuple[Path, Path]], places: Sequence[Path], text: str
) -> list[tuple[Path, Path]]:
    """Selects the share "i/n" of the pairs.

    A pair's share depends on ``n`` and on its place in the output tree alone,
    so that further files move none from one share to another. The shares of
    a large number of files are about equal in size.

    Example
    -------
    >>> names = [Path(f"{number}.wav") for number in range(1000)]
    >>> pairs = [(name, "out" / name) for name in names]
    >>> [len(select_shard(pairs, names, f"{i}/3")) for i in (1, 2, 3)]
    [328, 335, 337]
    """
    index, count = parse_shard(text)
    return [
        pair
        for pair, place in zip(pairs, places, strict=True)
        if _hash(place) % count == index - 1
    ]


def _hash(place):
    # A good one: names of files differ in little, and are no random numbers.
    name = os.fsencode(place.as_posix())
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")
