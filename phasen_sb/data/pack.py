"""Packs of training audio: folders of speech and of noise, as few big files.

A pack is small enough to be carried to a machine that has a GPU and little
else, and is decoded there into the GPU's memory.
"""

import csv
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
import torch

from phasen_sb.audio.resampling import find_rate_problem, resample
from phasen_sb.errors import UserError
from phasen_sb.utils.files import native_path, unpack_tar
from phasen_sb.utils.parallel import process_files

#: Folders of a pack.
PARTS = ("speech", "noise")
#: Optional table of a pack: file, and start and length (s) of an utterance.
INDEX = "index.csv"
SUFFIXES = (".opus", ".ogg", ".flac", ".wav")


def read_pack(
    path: str | Path, sample_rate: int = 16000, jobs: int | None = None
) -> dict[str, list[torch.Tensor]]:
    """Decodes a pack with all CPUs.

    Arguments
    ---------
    path : str or pathlib.Path
        A folder with ``speech`` and ``noise``, or a tar archive of both. Where
        ``index.csv`` beside them has rows ``file,start,length`` (s) for a file,
        such as ``speech/01.opus``, these are its recordings; any other file is
        one recording.
    sample_rate : int
        Of the result (Hz). Ogg Opus comes at 48000 Hz and is resampled.
    jobs : int, optional
        Threads; by default one for each CPU.

    Returns
    -------
    dict
        ``speech`` and ``noise``, each a list of int16 tensors ``[samples]``.

    Raises
    ------
    UserError
        If a folder or a file is missing or cannot be used.

    Example
    -------
    >>> pack = getfixture("tmp_path")
    >>> for part in PARTS:
    ...     (pack / part).mkdir()
    ...     sf.write(pack / part / "a.flac", np.zeros(32000), 16000)
    >>> _ = (pack / "index.csv").write_text(
    ...     "file,start,length\\nspeech/a.flac,0,0.5\\nspeech/a.flac,1,1\\n"
    ... )
    >>> {key: [len(x) for x in found] for key, found in read_pack(pack).items()}
    {'speech': [8000, 16000], 'noise': [32000]}
    """
    with tempfile.TemporaryDirectory() as scratch:
        return decode_pack(find_pack(path, scratch), sample_rate, jobs)


class Pack(NamedTuple):
    """What a pack holds."""

    files: dict[str, Path]  #: by name, such as ``speech/01.opus``
    #: Start and length (s) of the recordings of some files.
    rows: dict[str, list[tuple[float, float]]]


def find_pack(path: str | Path, scratch: str | Path) -> Pack:
    """Finds the files of a pack; an archive is unpacked into ``scratch``.

    Errors are those of :func:`read_pack`.
    """
    root = _unpack(Path(path).expanduser(), Path(scratch))
    files = {}
    for part in PARTS:
        found = [
            file
            for file in sorted((root / part).glob("*"))
            if file.suffix.lower() in SUFFIXES
        ]
        if not found:
            raise UserError(
                f"{root / part} has no audio; a pack has the folders speech "
                f"and noise, with files that end in {', '.join(SUFFIXES)}."
            )
        files |= {f"{part}/{file.name}": file for file in found}
    rows = _read_index(root / INDEX)
    for name in rows.keys() - files.keys():
        raise UserError(
            f"{root / INDEX} names {name}, which is not there; make the pack "
            "again."
        )
    return Pack(files, rows)


def decode_pack(
    pack: Pack, sample_rate: int, jobs: int | None = None
) -> dict[str, list[torch.Tensor]]:
    """Decodes what :func:`find_pack` found, see :func:`read_pack`."""
    decoded = process_files(
        lambda file: decode_file(file, sample_rate),
        list(pack.files.values()),
        jobs,
        "Decoding",
    )
    found: dict[str, list[torch.Tensor]] = {part: [] for part in PARTS}
    for (name, file), samples in zip(pack.files.items(), decoded, strict=True):
        part, _ = name.split("/")
        found[part] += _cut(samples, pack.rows.get(name), sample_rate, file)
    return found


def decode_file(path: Path, sample_rate: int) -> torch.Tensor:
    """Reads a file as int16 ``[samples]`` at a rate (Hz), of its channels'
    mean."""
    try:
        samples, rate = sf.read(
            native_path(path), dtype="float32", always_2d=True
        )
    except (sf.SoundFileError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); make the pack again."
        ) from error
    if not len(samples):
        raise UserError(f"{path} holds no audio; take it out of the pack.")
    if problem := find_rate_problem(rate, sample_rate):
        raise UserError(f"{path} {problem}.")
    mono = np.ascontiguousarray(samples.mean(1))
    wave = torch.from_numpy(mono)
    if rate != sample_rate:
        wave = resample(mono, rate, sample_rate)
    return wave.mul(2**15).round().clamp(-(2**15), 2**15 - 1).short()


def _unpack(path, folder):
    if path.is_dir():
        return path
    if not path.is_file():
        raise UserError(f"There is no pack {path}; check the path.")
    try:
        unpack_tar(path, folder)
    except (tarfile.TarError, OSError) as error:
        raise UserError(
            f"{path} cannot be unpacked ({error}); give a folder or a whole "
            "tar archive."
        ) from error
    while not (folder / PARTS[0]).is_dir():  # packed with its folder
        inner = [child for child in folder.iterdir() if child.is_dir()]
        if len(inner) != 1:
            break
        folder = inner[0]
    return folder


def _read_index(path):
    rows: dict[str, list[tuple[float, float]]] = {}
    if not path.is_file():
        return rows
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                part = float(row["start"]), float(row["length"])
                rows.setdefault(row["file"], []).append(part)
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{path} has a row {row}; it must have file, start and "
                    "length (s)."
                ) from error
    return rows


def _cut(samples, rows, sample_rate, file):
    if rows is None:
        return [samples]
    parts = []
    for start, length in rows:
        first = round(start * sample_rate)
        part = samples[first : first + round(length * sample_rate)]
        if first < 0 or len(part) < (length - 0.05) * sample_rate:
            raise UserError(
                f"{file} is shorter than {INDEX} says: it has no {length:g} s "
                f"at {start:g} s; make the pack again."
            )
        if not len(part):
            raise UserError(
                f"{INDEX} gives {file} a recording of no length at {start:g} "
                "s; leave that row out."
            )
        parts.append(part)
    return parts
