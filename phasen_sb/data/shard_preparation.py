"""Prepares shards: validation and test become files, training stays packed."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from phasen_sb.data.extra_data import check_snr_range
from phasen_sb.data.manifest import write_manifests
from phasen_sb.data.shards import Shard, find_shards, read_shard
from phasen_sb.data.splits import Splits
from phasen_sb.utils.files import (
    name_partial,
    read_json,
    write_atomically,
    write_json,
)

#: The ids and files of an unpacked shard.
LISTING = "files.json"


def prepare_shards(
    patterns: Mapping[str, str],
    save_folder: str | Path,
    sample_rate: int = 16000,
    snr_low: float = 0.0,
    snr_high: float = 15.0,
    jobs: int | None = None,
) -> dict:
    """Unpacks what to validate and test on, and writes the manifests.

    Those shards become files in ``save_folder``, which are treated like any
    others: each is scored once, whatever the number of processes, and mixtures
    are always the same. ``train.json`` lists the other shards, which training
    reads as they are.

    ``patterns`` are the names of the shards of ``pairs``, or of ``speech`` and
    of ``noise``, see :func:`phasen_sb.data.shards.find_shards`;
    ``sample_rate`` (Hz) must be theirs. The other arguments, and the result,
    are as for :func:`phasen_sb.data.speech_and_noise.prepare_mix`.

    Raises a :class:`phasen_sb.errors.UserError` if shards are missing, or those
    to validate or test on are broken.
    """
    check_snr_range(snr_low, snr_high)
    found = {
        kind: find_shards(pattern, kind, sample_rate)
        for kind, pattern in patterns.items()
    }
    folder = Path(save_folder).expanduser().absolute()
    splits: Splits = {"valid": {}, "test": {}}
    noises: dict[str, dict] = {}
    for kind, shards in found.items():
        for split in ("valid", "test"):
            for shard in shards[split]:
                entries = _unpack(shard, folder / "unpacked")
                if kind == "noise":
                    entries = {f"noise/{k}": e for k, e in entries.items()}
                    added = _add(entries, splits.setdefault("noise", {}))
                    noises |= {key: {"splits": [split]} for key in added}
                else:
                    _add(entries, splits[split])
    train = {kind: shards["train"] for kind, shards in found.items()}
    listed = {kind: list(map(asdict, train[kind])) for kind in train}
    speech = next(iter(train.values()))
    write_json(
        folder / "train.json",
        {
            f"{kind} {number}": {"shard": shard.sha256}
            for kind in train
            for number, shard in enumerate(train[kind])
        },
    )
    return write_manifests(
        splits,
        folder,
        folder,
        sample_rate,
        {
            "source": "mix" if "noise" in train else "pairs",
            "snr_low": float(snr_low),
            "snr_high": float(snr_high),
            "train_shards": listed,
        },
        extra=noises,
        jobs=jobs,
        summaries={
            "train": {
                "files": sum(shard.samples for shard in speech),
                "seconds": round(sum(shard.seconds for shard in speech), 3),
            }
        },
    )


def _add(entries: Mapping, known: dict) -> list[str]:
    """Adds entries; returns their ids, longer where a series has the same."""
    added = []
    for key, entry in entries.items():
        while key in known:
            key += "+"
        known[key] = entry
        added.append(key)
    return added


def _unpack(shard: Shard, folder: Path) -> dict[str, dict[str, Path]]:
    """Writes the files of a shard, unless that was done; returns the entries.

    The folder appears when all of its files are there.
    """
    place = folder / f"{Path(shard.url).stem}-{shard.sha256[:8]}"
    if not place.is_dir():
        part = name_partial(place)
        shutil.rmtree(part, ignore_errors=True)
        entries: dict[str, dict] = {}
        for number, sample in enumerate(read_shard(shard)):
            entry = entries[sample.id] = {}
            for name, content in sample.signals.items():
                # Not named by the id, which may be too long when encoded.
                file = f"{number:06d}.{name}.{sample.suffix}"
                write_atomically(part / file, content)
                entry[f"{name}_wav"] = file
        write_json(part / LISTING, entries)
        os.replace(part, place)
    listing = read_json(place / LISTING, f"delete {place} and run again")
    return {
        key: {name: place / file for name, file in entry.items()}
        for key, entry in listing.items()
    }
