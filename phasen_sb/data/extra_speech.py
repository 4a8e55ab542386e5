"""Clean speech to train on beside a data set's own.

Authors
 * The phasen_sb authors 2026
"""

import os
from collections.abc import Sequence
from pathlib import Path

from phasen_sb.data.files import check_apart, existing_folder, find_audio
from phasen_sb.data.manifest import Splits
from phasen_sb.errors import UserError


def add_extra_speech(
    splits: Splits,
    folder: str | Path | None,
    roots: Sequence[Path],
    save_folder: str | Path,
) -> tuple[Path, dict]:
    """Adds recordings to the training utterances, as pairs without noise.

    Arguments
    ---------
    splits : dict
        Split -> utterance id -> key -> file; ``train`` grows in place.
    folder : str or pathlib.Path, optional
        Folder with mono files of clean speech; nothing is added without it.
    roots : sequence of pathlib.Path
        The folders that hold all files so far.
    save_folder : str or pathlib.Path
        Where results go; left out if it is in ``folder``.

    Returns
    -------
    root : pathlib.Path
        The folder that holds all files.
    setting : dict
        What to record.

    Raises
    ------
    UserError
        If there is no such folder or no audio in it, or it holds the other
        data or links to it.

    Example
    -------
    >>> from phasen_sb.data import sample_corpus
    >>> splits = {"train": {}}
    >>> folder = sample_corpus() / "clean_trainset_28spk_wav_16k"
    >>> root, _ = add_extra_speech(splits, folder, [Path("/data")], "results")
    >>> len(splits["train"])
    24
    """
    if not folder:
        return Path(os.path.commonpath(roots)), {"extra_clean_folder": None}
    extra = existing_folder(folder, "extra_clean_folder")
    for root in roots:
        check_apart(extra, "extra_clean_folder", root, "the data's folder")
    resolved = [root.resolve() for root in roots]
    cache = Path(save_folder).expanduser().absolute()
    train = splits.setdefault("train", {})
    keys = list(next(iter(train.values()), ["noisy_wav", "clean_wav"]))
    for name, path in find_audio(extra, cache).items():
        if any(root in path.resolve().parents for root in resolved):
            raise UserError(
                f"{path} in extra_clean_folder is a link to the data itself, "
                "whose test and validation speech is not for training; remove "
                "it."
            )
        # The prefix keeps the names apart from those of the data set.
        train[f"extra/{name}"] = dict.fromkeys(keys, path)
    return (
        Path(os.path.commonpath([*roots, extra])),
        {"extra_clean_folder": str(extra)},
    )
