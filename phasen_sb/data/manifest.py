"""Checks, resamples and records a data set, whatever its source.

``save_folder`` receives one manifest a split (``train.json``, ...) in
SpeechBrain's form and ``data.json``, which records where the data came from,
how it was resampled, counts and checksums. ``data.json`` is written last: where
it exists, the manifests are complete.
"""

import hashlib
import json
import os
from pathlib import Path

import soundfile
import torchaudio
from speechbrain.dataio.dataio import load_data_json
from speechbrain.utils.logger import get_logger

from phasen_sb.audio.checking import AudioFile, inspect_audio
from phasen_sb.audio.resampling import RESAMPLER
from phasen_sb.data.bad_files import find_bad_files, raise_bad_files
from phasen_sb.data.resample_cache import name_cache_folder, resample_file
from phasen_sb.data.splits import Splits
from phasen_sb.errors import UserError
from phasen_sb.utils.file_names import DATA_RECORD
from phasen_sb.utils.files import read_json, write_json
from phasen_sb.utils.parallel import process_files

logger = get_logger(__name__)


def read_record(save_folder: str | Path) -> dict:
    """Reads what a prepare function recorded in ``data.json``.

    Raises a :class:`phasen_sb.errors.UserError` if no data was prepared in
    ``save_folder``, or the record is damaged.
    """
    path = Path(save_folder) / DATA_RECORD
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; prepare the data into {save_folder} first."
        )
    return read_json(path, "remove it and prepare the data again")


def write_manifests(
    splits: Splits,
    root: Path,
    save_folder: str | Path,
    sample_rate: int,
    settings: dict,
    problems: list[tuple[Path, str]] | None = None,
    promised_rates: dict[Path, int] | None = None,
    extra: dict[str, dict] | None = None,
    jobs: int | None = None,
    summaries: dict[str, dict] | None = None,
) -> dict:
    """Writes the manifests of lists of files, unless they exist already.

    A second call with unchanged files (paths, sizes, times of modification)
    and settings reads no audio. ``root`` contains all the files; those at
    another rate than ``sample_rate`` (Hz), at which the network works, are
    resampled into ``save_folder``. ``settings`` are what else defines the
    data; they are kept in the record, which is returned. ``promised_rates``
    (Hz) are those that the source of a file promises; any other is a problem.
    ``extra`` has further entries of the manifest by utterance id. ``jobs`` is
    the number of parallel workers; by default one for each CPU. ``summaries``
    are what the record says of splits whose manifests are there already.

    Raises a :class:`phasen_sb.errors.UserError` if any file cannot be used;
    all of them are named, with the ``problems`` that were found before.
    """
    save_folder = Path(save_folder).expanduser().absolute()
    sample_rate = _check_rate(sample_rate)
    problems = list(problems or [])
    paths = sorted(
        {
            path
            for items in splits.values()
            for entry in items.values()
            for path in entry.values()
        }
    )
    settings = {**settings, "sample_rate": sample_rate}
    fingerprint = _compute_fingerprint(paths, splits, settings, extra)
    if not problems and (
        record := _read_reusable_record(save_folder, fingerprint)
    ):
        logger.info("Data in %s is prepared already.", save_folder)
        return record

    facts = dict(
        zip(
            paths,
            process_files(inspect_audio, paths, jobs, "Checking audio"),
            strict=True,
        )
    )
    problems += find_bad_files(splits, facts, sample_rate, promised_rates or {})
    checked = len({*paths, *(path for path, _ in problems)})
    raise_bad_files(problems, checked, save_folder)

    originals = facts
    cache = name_cache_folder(save_folder, sample_rate)
    # Where a header is wrong, training reads a copy whose header is right.
    wrong = [
        path
        for path in paths
        if facts[path].rate != sample_rate or facts[path].note
    ]
    for path in wrong:
        if facts[path].note:
            logger.warning("%s: %s", path, facts[path].note)
    if wrong:
        logger.info(
            "Resampling %d files to %d Hz in %s", len(wrong), sample_rate, cache
        )
        resampled = process_files(
            lambda path: resample_file(
                path,
                (cache / path.relative_to(root)).with_suffix(".wav"),
                sample_rate,
            ),
            wrong,
            jobs,
            "Resampling",
        )
        facts = {**facts, **dict(zip(wrong, resampled, strict=True))}

    folders = [cache] * bool(wrong) + [root] * (len(wrong) < len(paths))
    data_root = Path(os.path.commonpath(folders))
    record = {
        **settings,
        "data_root": str(data_root),
        "resampler": {
            **RESAMPLER,
            "sample_rate": sample_rate,
            "files": len(wrong),
            "encoding": "WAV, 32-bit float",
            "torchaudio": torchaudio.__version__,
        }
        if wrong
        else None,
        "soundfile": soundfile.__version__,
        "checksums": (
            "MD5 over one line '<id> <MD5 of the samples as little-endian "
            "float32>' per file, sorted by id; 'used' is after resampling"
        ),
        "splits": (summaries or {})
        | {
            split: _summarise_split(items, originals, facts)
            for split, items in splits.items()
        },
        "fingerprint": fingerprint,
    }
    # Removed first: while it exists, the manifests are complete.
    (save_folder / DATA_RECORD).unlink(missing_ok=True)
    for split, items in splits.items():
        manifest = {
            name: {
                **{
                    key: _write_path(facts[path].path, data_root)
                    for key, path in entry.items()
                },
                "length": facts[next(iter(entry.values()))].samples
                / sample_rate,
                **(extra or {}).get(name, {}),
            }
            for name, entry in items.items()
        }
        write_json(save_folder / f"{split}.json", manifest)
    write_json(save_folder / DATA_RECORD, record)
    logger.info(
        "Prepared %s in %s",
        ", ".join(f"{len(items)} {split}" for split, items in splits.items()),
        save_folder,
    )
    return record


def _check_rate(sample_rate: int) -> int:
    if sample_rate != int(sample_rate) or sample_rate <= 0:
        raise UserError(
            f"sample_rate is {sample_rate}; give a whole number of Hz, such "
            "as 16000."
        )
    return int(sample_rate)


def _compute_fingerprint(
    paths: list[Path], splits: Splits, settings: dict, extra: dict | None
) -> str:
    digest = hashlib.sha256()
    assignment = {split: sorted(items) for split, items in splits.items()}
    described = [settings, RESAMPLER, assignment, extra]
    digest.update(json.dumps(described, sort_keys=True).encode())
    for path in paths:
        status = path.stat()
        line = f"{path} {status.st_size} {status.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read_reusable_record(save_folder: Path, fingerprint: str) -> dict | None:
    try:
        record = read_record(save_folder)
        if record.get("fingerprint") != fingerprint:
            return None
        for split in record["splits"]:
            manifest = read_manifest(save_folder, split, record["data_root"])
            for entry in manifest.values():
                for key, path in entry.items():
                    if key.endswith("_wav") and not os.path.exists(path):
                        return None
    except (UserError, OSError, ValueError, KeyError, AttributeError):
        return None
    return record


def read_manifest(
    save_folder: str | Path, split: str, data_root: str
) -> dict[str, dict]:
    """Reads one manifest, from utterance id to entries.

    ``split`` is ``train``, ``valid``, ``test`` or ``noise``; ``data_root`` is
    filled in for the placeholder ``{data_root}``.
    """
    return load_data_json(
        str(Path(save_folder) / f"{split}.json"), {"data_root": data_root}
    )


def _write_path(path: Path, data_root: Path) -> str:
    # SpeechBrain formats the string, so braces in names must be doubled.
    relative = path.relative_to(data_root).as_posix()
    return "{data_root}/" + relative.replace("{", "{{").replace("}", "}}")


def _summarise_split(
    items: dict[str, dict[str, Path]],
    originals: dict[Path, AudioFile],
    used: dict[Path, AudioFile],
) -> dict:
    keys = list(next(iter(items.values())))
    paths = [path for entry in items.values() for path in entry.values()]

    def checksum(facts: dict[Path, AudioFile], key: str) -> str:
        lines = (
            f"{name} {facts[items[name][key]].md5}\n" for name in sorted(items)
        )
        content = "".join(lines).encode(errors="surrogateescape")
        return hashlib.md5(content).hexdigest()

    seconds = sum(
        originals[entry[keys[0]]].samples / originals[entry[keys[0]]].rate
        for entry in items.values()
    )
    return {
        "files": len(items),
        "seconds": round(seconds, 3),
        "original_rates": sorted({originals[path].rate for path in paths}),
        "original": {key: checksum(originals, key) for key in keys},
        "used": {key: checksum(used, key) for key in keys},
    }
