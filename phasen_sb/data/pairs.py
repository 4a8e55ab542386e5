"""One's own recordings: noisy files and their clean partners."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.extra_data import NOTHING, ExtraData, add_extra_data
from phasen_sb.data.manifest import Splits, write_manifests
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import check_apart, existing_folder


def prepare_pairs(
    noisy_folder: str | Path,
    clean_folder: str | Path,
    save_folder: str | Path,
    sample_rate: int = 16000,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    group_regex: str | None = None,
    extra: ExtraData = NOTHING,
    jobs: int | None = None,
) -> dict:
    """Checks pairs of noisy and clean files and writes their manifests.

    A noisy file and a clean one are a pair if their paths within their
    folders agree, the suffix apart. Which split a pair goes to depends on
    its name alone, so it stays there when files are added.

    Arguments
    ---------
    noisy_folder, clean_folder : str or pathlib.Path
        Folders with mono files, at any depth, of any format libsndfile
        reads, at any rate.
    save_folder : str or pathlib.Path
        Receives ``train.json``, ``valid.json``, ``test.json``, ``data.json``
        and the resampled copies, if any.
    sample_rate : int
        The rate the network works at (Hz).
    valid_fraction, test_fraction : float
        Shares of the pairs to validate and to test on; each split has at
        least one.
    group_regex : str, optional
        Keeps pairs together in one split when this regular expression finds
        the same in their names (its first group, if it has one):
        ``"^(p[0-9]+)_"`` never puts one VCTK speaker into two splits. A name
        is the path within the folder, with ``__`` for ``/``.
    extra : ExtraData
        More speech and noise to train on.
    jobs : int, optional
        Number of parallel workers; default one for each CPU.

    Returns
    -------
    dict
        The record, as in ``data.json``: counts, checksums, resampler.

    Raises
    ------
    UserError
        If a folder is missing, there are fewer than three groups, or any
        file is unpaired or cannot be used; all bad files are named at once.

    Example
    -------
    >>> from phasen_sb.data import sample_corpus
    >>> record = prepare_pairs(
    ...     sample_corpus() / "noisy_trainset_28spk_wav_16k",
    ...     sample_corpus() / "clean_trainset_28spk_wav_16k",
    ...     getfixture("tmp_path"),
    ... )
    >>> sum(split["files"] for split in record["splits"].values())
    24
    """
    noisy_root = existing_folder(noisy_folder, "noisy_folder")
    clean_root = existing_folder(clean_folder, "clean_folder")
    check_apart(noisy_root, "noisy_folder", clean_root, "clean_folder")
    cache = Path(save_folder).expanduser().absolute()
    problems: list[tuple[Path, str]] = []
    pairs = match_pairs(
        find_audio(noisy_root, cache),
        find_audio(clean_root, cache),
        noisy_root,
        clean_root,
        problems,
    )
    # Unpaired files are told before anything is divided.
    splits = (
        {"train": pairs}
        if problems
        else split_items(pairs, valid_fraction, test_fraction, group_regex)
    )
    root, added, entries = add_extra_data(
        splits, extra, [noisy_root, clean_root], cache
    )
    return write_manifests(
        splits,
        root,
        save_folder,
        sample_rate,
        {
            "source": "pairs",
            "noisy_folder": str(noisy_root),
            "clean_folder": str(clean_root),
            "valid_fraction": valid_fraction,
            "test_fraction": test_fraction,
            "group_regex": group_regex,
            **added,
        },
        problems,
        extra=entries,
        jobs=jobs,
    )


def match_pairs(
    noisy: dict[str, Path],
    clean: dict[str, Path],
    noisy_folder: Path,
    clean_folder: Path,
    problems: list[tuple[Path, str]],
) -> dict[str, dict[str, Path]]:
    """Joins noisy and clean files of the same name.

    Arguments
    ---------
    noisy, clean : dict
        From name to file.
    noisy_folder, clean_folder : pathlib.Path
        Where they were found, for the messages.
    problems : list of (pathlib.Path, str)
        Receives the files that have no partner.

    Returns
    -------
    dict
        From name to ``{"noisy_wav": file, "clean_wav": file}``.
    """
    problems += [
        (path, f"has no partner of that name in {clean_folder}")
        for name, path in noisy.items()
        if name not in clean
    ]
    problems += [
        (path, f"has no partner of that name in {noisy_folder}")
        for name, path in clean.items()
        if name not in noisy
    ]
    return {
        name: {"noisy_wav": path, "clean_wav": clean[name]}
        for name, path in noisy.items()
        if name in clean
    }


def split_items(
    items: dict[str, dict[str, Path]],
    valid_fraction: float,
    test_fraction: float,
    group_regex: str | None = None,
) -> Splits:
    """Divides items into ``train``, ``valid`` and ``test`` by their names.

    Arguments
    ---------
    items : dict
        From name to files.
    valid_fraction, test_fraction : float
        Shares of validation and test.
    group_regex : str, optional
        What to keep together, as for `prepare_pairs`.

    Returns
    -------
    dict
        Split -> name -> files; no split is empty.

    Raises
    ------
    UserError
        If the fractions or the expression make no sense, or there are fewer
        than three groups.

    Example
    -------
    >>> splits = split_items({name: {} for name in "abcd"}, 0.1, 0.1)
    >>> {split: len(names) for split, names in splits.items()}
    {'train': 2, 'valid': 1, 'test': 1}
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
    groups = {name: _group(name, group_regex) for name in items}
    position = {group: _position(group) for group in groups.values()}
    ordered = sorted(position, key=lambda group: (position[group], group))
    if len(ordered) < 3:
        kind = "groups of files" if group_regex else "files"
        raise UserError(
            f"There are {len(ordered)} {kind}, but train, valid and test need "
            "at least one each; add some."
        )
    tests = _count(ordered, position, test_fraction)
    valids = _count(ordered, position, test_fraction + valid_fraction) - tests
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


def _group(name: str, group_regex: str | None) -> str:
    if not group_regex:
        return name
    try:
        match = re.search(group_regex, name)
    except re.error as error:
        raise UserError(
            f"group_regex {group_regex!r} is no regular expression: {error}."
        ) from None
    if not match:
        raise UserError(
            f"group_regex {group_regex!r} finds nothing in the name {name}; "
            "change it so that it matches every file."
        )
    return match.group(1 if match.re.groups else 0) or ""


def _position(group: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _count(
    ordered: Iterable[str], position: dict[str, float], limit: float
) -> int:
    return sum(position[group] < limit for group in ordered)
