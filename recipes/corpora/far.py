"""Makes ``validation_far``: pairs of voices and noises that training lacks.

Speech is near or far from the microphone, in rooms; levels change within some
files. The same sources give the same files.
"""

import csv
import io
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.signal import fftconvolve

from phasen_sb.utils.files import write_atomically

from . import signals
from .recordings import Row
from .signals import RATE, write_flac

FOLDER = "validation_far"
SNRS = (-5.0, 0.0, 5.0, 10.0, 15.0)
SECONDS = (3.0, 7.0)
FAR_SHARE = 0.5  # of files in which the voice is far away, in a room
CHANGE_SHARE = 0.33  # of files whose level changes
LEVELS = (-38.0, -16.0)  # range of the level of speech (dB of full scale)


def make_validation(work: Path, rows: list[Row], count: int) -> list[dict]:
    """Makes ``count`` pairs in ``work/validation_far``, unless they are there.

    Voices, kinds of noise and signal-to-noise ratios take turns, so that each
    occurs equally often. The target of a far voice is the voice in its room,
    and a change of level is in the target, too. The lines of
    ``validation_far.csv`` are returned; ``log_validation_far.txt`` has the
    conditions as ``phasen score --conditions`` takes them.
    """
    voices = _by_label(rows, "speech", SECONDS[0])
    noises = _by_label(rows, "noise", 1.0)
    number = zlib.crc32(repr((count, voices, noises)).encode())
    table = work / FOLDER / f"{FOLDER}.csv"
    stamp = work / FOLDER / f".made-{number:08x}"
    if not voices or not noises:
        return []
    if not stamp.exists():
        for old in (work / FOLDER).rglob("*.flac"):
            old.unlink()
        lines = [
            _make_pair(work, index, voices, noises) for index in range(count)
        ]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write_atomically(table, text.getvalue())
        conditions = [
            f"{line['file'].removesuffix('.flac')} {line['noise']} "
            f"{line['snr']:g}\n"
            for line in lines
        ]
        log = work / FOLDER / f"log_{FOLDER}.txt"
        write_atomically(log, "".join(conditions))
        for old in (work / FOLDER).glob(".made-*"):
            old.unlink()
        stamp.touch()
    with open(table, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _by_label(rows: list[Row], kind: str, least: float) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        if (row.kind, row.split) == (kind, "far") and row.seconds >= least:
            found[row.label].append(row)
    return dict(sorted(found.items()))


def _make_pair(work: Path, index: int, voices: dict, noises: dict) -> dict:
    rng = np.random.default_rng([20, index])
    voice = list(voices)[index % len(voices)]
    kind = _take_turn(list(noises), index, "noise")
    snr = _take_turn(list(SNRS), index, "snr")
    one, other = (
        group[int(rng.integers(len(group)))]
        for group in (voices[voice], noises[kind])
    )
    clean, noise = (_read_part(work / row.file, rng) for row in (one, other))
    noise = np.resize(noise, len(clean))
    far = rng.random() < FAR_SHARE
    if far:
        clean = add_room(clean, draw_room(rng, (0.25, 0.8), (-3.0, 6.0)))
    noise = add_room(noise, draw_room(rng, (0.15, 0.6), (0.0, 15.0)))
    noise *= 10 ** ((signals.active_level(clean) - snr - _level(noise)) / 20)
    noisy = clean + noise
    change = 0.0
    if rng.random() < CHANGE_SHARE:
        change = float(rng.uniform(8, 18) * rng.choice([-1, 1]))
        gain = draw_gain(len(clean), change, rng)
        clean, noisy = gain * clean, gain * noisy
    level = rng.uniform(*LEVELS)
    gain = 10 ** ((level - signals.active_level(clean)) / 20)
    gain = min(gain, 0.98 / np.abs(noisy).max())
    name = f"far_{index:03d}.flac"
    for folder, samples in (("clean", clean), ("noisy", noisy)):
        write_flac(work / FOLDER / folder / name, gain * samples, index)
    return {
        "file": name,
        "voice": voice,
        "language": one.language,
        "noise": kind,
        "snr": snr,
        "far": int(far),
        "level_change": round(change, 1),
        "speech_file": one.file,
        "noise_file": other.file,
        "speech_author": one.author,
        "noise_author": other.author,
        "speech_licence": one.licence,
        "noise_licence": other.licence,
    }


def _take_turn(choices: list, index: int, purpose: str):
    turn, place = divmod(index, len(choices))
    order = np.random.default_rng([zlib.crc32(purpose.encode()), turn])
    return choices[int(order.permutation(len(choices))[place])]


def _read_part(path: Path, rng: np.random.Generator) -> np.ndarray:
    samples, _ = signals.read_mono(path)
    count = round(rng.uniform(*SECONDS) * RATE)
    start = int(rng.integers(max(len(samples) - count, 0) + 1))
    return samples[start : start + count].astype(np.float64)


def draw_room(
    rng: np.random.Generator,
    decay: tuple[float, float],
    direct: tuple[float, float],
) -> np.ndarray:
    """Draws the impulse response of a room, after Polack.

    ``decay`` is the range of the time in which sound decays by 60 dB (s),
    ``direct`` that of the ratio of direct to reverberant energy (dB).
    """
    seconds = rng.uniform(*decay)
    time = np.arange(round(seconds * RATE)) / RATE
    noise = rng.standard_normal((2, len(time)))
    # High frequencies decay twice as fast.
    low = noise[0] * 10 ** (-3 * time / seconds)
    high = noise[1] * 10 ** (-6 * time / seconds)
    tail = low + np.roll(low, 1) + high - np.roll(high, 1)
    tail[: round(rng.uniform(0.001, 0.012) * RATE)] = 0
    tail *= 10 ** (-rng.uniform(*direct) / 20) / np.linalg.norm(tail)
    tail[0] = 1
    return tail


def add_room(samples: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Puts a signal into a room; its length stays."""
    return fftconvolve(samples, room)[: len(samples)]


def draw_gain(
    count: int, change: float, rng: np.random.Generator
) -> np.ndarray:
    """Draws a gain that changes once by ``change`` dB, within 0.1 to 1 s."""
    begin = rng.uniform(0.2, 0.7) * count
    share = (np.arange(count) - begin) / (rng.uniform(0.1, 1.0) * RATE)
    return 10 ** (change * share.clip(0, 1) / 20)


def _level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-12))
