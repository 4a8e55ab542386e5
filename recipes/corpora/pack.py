"""Packs speech and noise as Opus, small enough to send to a rented GPU."""

import csv
import io
import shutil
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.utils.files import native_path, write_atomically

from . import signals
from .recordings import Row, write_rows
from .signals import RATE

FOLDER = "pack"
SPEECH_RATE, NOISE_RATE = 24000, 48000  # bits per second
NOISE_SHARE = 0.35  # of the size
GAP = 0.25  # s of near silence between recordings
FILE_SECONDS = 600.0
NOISE_SECONDS = 60.0  # longer recordings are cut
MIB = 2**20


def make_pack(work: Path, rows: list[Row], mib: float) -> Path:
    """Packs as much of the training files as fits into ``mib`` MiB.

    Voices and kinds of noise take turns until there is no more room. What is
    held out is not in it. ``work/pack`` is returned, with ``speech/*.opus``,
    ``noise/*.opus``, ``index.csv`` (file, start, length in s) and
    ``sources.csv``: author and licence of all that is in it.
    """
    folder = work / FOLDER
    training = [row for row in rows if row.split == "train"]
    number = zlib.crc32(repr((mib, training)).encode())
    stamp = folder / f".made-{number:08x}"
    if stamp.exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    index: list[tuple[str, float, float]] = []
    used: list[Row] = []
    for kind, rate, share in (
        ("noise", NOISE_RATE, NOISE_SHARE),
        ("speech", SPEECH_RATE, 1 - NOISE_SHARE),
    ):
        of_kind = [row for row in training if row.kind == kind]
        # A tenth is left for the container.
        seconds = 0.9 * share * mib * MIB * 8 / rate
        for label, group in _take_turns(of_kind, seconds).items():
            used += group
            index += _write_files(work, folder, kind, label, group, rate)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "start", "length"))
    writer.writerows(index)
    write_atomically(folder / "index.csv", text.getvalue())
    write_rows(folder / "sources.csv", used)
    stamp.touch()
    return folder


def _take_turns(rows: list[Row], seconds: float) -> dict[str, list[Row]]:
    """Chooses recordings, one of each label in turn, up to a length."""
    waiting = defaultdict(list)
    for row in rows:
        waiting[row.label].append(row)
    for label, group in waiting.items():
        rng = np.random.default_rng(zlib.crc32(label.encode()))
        waiting[label] = [group[int(k)] for k in rng.permutation(len(group))]
    chosen = defaultdict(list)
    while waiting:
        for label in sorted(waiting):
            row = waiting[label].pop()
            if not waiting[label]:
                del waiting[label]
            length = row.seconds + GAP
            if row.kind == "noise":
                length = min(length, NOISE_SECONDS + GAP)
            if length <= seconds:
                chosen[label].append(row)
                seconds -= length
    return dict(sorted(chosen.items()))


def _write_files(
    work: Path, folder: Path, kind: str, label: str, rows: list[Row], rate: int
) -> list[tuple[str, float, float]]:
    """Writes the recordings of one label, in files of some ten minutes."""
    index: list[tuple[str, float, float]] = []
    parts: list[np.ndarray] = []
    count, position = 0, 0
    gap = np.random.default_rng(0).standard_normal(round(GAP * RATE)) * 2e-5

    def flush():
        nonlocal parts, count, position
        if parts:
            _write_opus(folder / name(), np.concatenate(parts), rate)
            parts, count, position = [], count + 1, 0

    def name():
        return f"{kind}/{label}-{count:02d}.opus"

    for row in rows:
        samples, _ = signals.read_mono(work / row.file)
        if kind == "noise":
            samples = samples[: round(NOISE_SECONDS * RATE)]
        if position + len(samples) > FILE_SECONDS * RATE:
            flush()
        start = round(position / RATE, 4)
        index.append((name(), start, round(len(samples) / RATE, 4)))
        parts += [samples, gap.astype(np.float32)]
        position += len(samples) + len(gap)
    flush()
    return index


def _write_opus(path: Path, samples: np.ndarray, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # libsndfile takes 0 as 256 kbit/s and 1 as 6 kbit/s.
    level = (256000 - rate) / 250000
    with sf.SoundFile(
        native_path(path),
        "w",
        RATE,
        1,
        format="OGG",
        subtype="OPUS",
        compression_level=level,
    ) as file:
        # In blocks: libsndfile's encoder overflows its stack on long writes.
        for start in range(0, len(samples), 2**16):
            file.write(samples[start : start + 2**16])
