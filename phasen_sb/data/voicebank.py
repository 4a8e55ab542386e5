"""Prepares VoiceBank-DEMAND, as published or already resampled.

Neither transcripts nor a lexicon nor the network are needed.

Reference: C. Valentini-Botinhao, "Noisy speech database for training speech
enhancement algorithms and TTS models", 2017, https://doi.org/10.7488/ds/2117
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from speechbrain.utils.logger import get_logger

from phasen_sb.audio.finding import find_audio
from phasen_sb.data.extra_data import NOTHING, ExtraData, add_extra_data
from phasen_sb.data.manifest import write_manifests
from phasen_sb.data.pairs import match_pairs
from phasen_sb.data.splits import Splits
from phasen_sb.errors import UserError
from phasen_sb.utils.folders import (
    existing_folder,
    list_folders,
    nearest_sibling,
)

logger = get_logger(__name__)

TRAIN, TEST = "trainset_28spk_wav", "testset_wav"
LAYOUTS = {48000: "", 16000: "_16k"}
PUBLISHED = {"train and valid": 11572, "test": 824}


def prepare_voicebank(
    data_folder: str | Path,
    save_folder: str | Path,
    sample_rate: int = 16000,
    valid_speakers: Sequence[str] = ("p226", "p287"),
    extra: ExtraData = NOTHING,
    jobs: int | None = None,
) -> dict:
    """Checks VoiceBank-DEMAND and writes its manifests.

    Validation is by whole speakers taken from the training set, as in
    SpeechBrain's recipes; the test set is never used for selection.

    ``data_folder`` has ``clean_trainset_28spk_wav``,
    ``noisy_trainset_28spk_wav``, ``clean_testset_wav`` and
    ``noisy_testset_wav`` at 48 kHz as published, or with those names and
    ``_16k`` after them at 16 kHz, in WAV or FLAC. Where both exist, the 16 kHz
    ones are used for a ``sample_rate`` up to 16000. The other arguments and
    the results are as for :func:`phasen_sb.data.pairs.prepare_pairs`.

    Raises a :class:`phasen_sb.errors.UserError` if a folder is missing, or any
    file is unpaired or cannot be used; all bad files are named at once.

    >>> from phasen_sb.data import sample_corpus
    >>> folder = getfixture("tmp_path")
    >>> record = prepare_voicebank(sample_corpus(), folder)
    >>> [record["splits"][name]["files"] for name in ("train", "valid", "test")]
    [20, 4, 6]
    >>> import json
    >>> json.loads((folder / "test.json").read_text())["p232_001"]
    {'noisy_wav': '{data_root}/noisy_testset_wav_16k/p232_001.flac',
     'clean_wav': '{data_root}/clean_testset_wav_16k/p232_001.flac',
     'length': ...}
    """
    root = existing_folder(data_folder, "data_folder")
    layout_rate, folders = _find_layout(root, sample_rate)
    problems: list[tuple[Path, str]] = []
    listed = {
        part: match_pairs(
            find_audio(folders["noisy", part]),
            find_audio(folders["clean", part]),
            folders["noisy", part],
            folders["clean", part],
            problems,
        )
        for part in (TRAIN, TEST)
    }
    if isinstance(valid_speakers, str):
        valid_speakers = valid_speakers.replace(",", " ").split()
    # Unpaired files are reported before anything is split.
    splits = (
        dict(listed) if problems else _split_by_speaker(listed, valid_speakers)
    )
    root_of_all, added, entries = add_extra_data(
        splits, extra, list(folders.values()), save_folder
    )
    counts = {"train and valid": len(listed[TRAIN]), "test": len(listed[TEST])}
    if counts != PUBLISHED:
        logger.info(
            "VoiceBank-DEMAND has %s; this folder has %s.", PUBLISHED, counts
        )
    return write_manifests(
        splits,
        root_of_all,
        save_folder,
        sample_rate,
        {
            "source": "voicebank",
            "data_folder": str(root),
            "valid_speakers": list(valid_speakers),
            **added,
        },
        problems,
        extra=entries,
        promised_rates={
            path: layout_rate
            for pairs in listed.values()
            for pair in pairs.values()
            for path in pair.values()
        },
        jobs=jobs,
    )


def _find_layout(
    root: Path, sample_rate: int
) -> tuple[int, dict[tuple[str, str], Path]]:
    """Chooses between the folders at 16 and at 48 kHz."""
    candidates = {
        rate: {
            (kind, part): root / f"{kind}_{part}{suffix}"
            for kind in ("noisy", "clean")
            for part in (TRAIN, TEST)
        }
        for rate, suffix in LAYOUTS.items()
    }
    missing = {
        rate: [path for path in folders.values() if not path.is_dir()]
        for rate, folders in candidates.items()
    }
    complete = [rate for rate in candidates if not missing[rate]]
    if complete:
        enough = [rate for rate in complete if rate >= sample_rate]
        rate = min(enough) if enough else max(complete)
        return rate, candidates[rate]
    rate = min(missing, key=lambda rate: len(missing[rate]))
    names = ", ".join(path.name for path in missing[rate])
    if len(missing[rate]) < 4:
        nearest = nearest_sibling(missing[rate][0])
        taken = nearest in candidates[rate].values()
        hint = f"; is it {nearest.name}?" if nearest and not taken else "."
        raise UserError(f"data_folder {root} has no folder {names}{hint}")
    # Perhaps the folder above, or the one below, was meant.
    wanted = {p.name for paths in candidates.values() for p in paths.values()}
    for other in (root.parent, *(root / name for name in list_folders(root))):
        if wanted & set(list_folders(other)):
            raise UserError(
                f"data_folder {root} is not VoiceBank-DEMAND itself; did you "
                f"mean {other}?"
            )
    raise UserError(
        f"data_folder {root} is not VoiceBank-DEMAND: it has no folders "
        f"{names}, with or without _16k; for other data give noisy_folder and "
        "clean_folder."
    )


def _split_by_speaker(
    listed: dict[str, dict[str, dict[str, Path]]],
    valid_speakers: Sequence[str],
) -> Splits:
    speakers = {name: name.split("_")[0] for name in listed[TRAIN]}
    splits: Splits = {"train": {}, "valid": {}, "test": listed[TEST]}
    for name, entry in listed[TRAIN].items():
        held_out = speakers[name] in valid_speakers
        splits["valid" if held_out else "train"][name] = entry
    for split, problem in (
        ("valid", "has no file of them"),
        ("train", "has no file of anyone else"),
    ):
        if not splits[split]:
            raise UserError(
                f"valid_speakers is {', '.join(valid_speakers)}, but the "
                f"training set {problem}; it has "
                f"{_list_some(speakers.values())}."
            )
    return splits


def _list_some(speakers: Iterable[str]) -> str:
    names = sorted(set(speakers))
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
