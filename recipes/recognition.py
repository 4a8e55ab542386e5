#!/usr/bin/env python3
"""Shows whether enhancement helps or hurts a speech recogniser.

    pip install -e ".[asr]"
    python -m recipes.corpora /data/corpora
    python recipes/recognition.py \
        --speech /data/corpora/speech/rhasspy-kathleen \
        --noise /data/corpora/far/noise --output_folder results/recognition

Mixes English speech with noise, enhances it at some strengths, and counts the
words that PocketSphinx then hears otherwise than in the clean files; with
--transcripts, otherwise than they were spoken. The table is table.md in the
output folder, where the audio is, too: another recogniser can be tried on it.
"""

import os

from phasen_sb.utils.openmp import passive_waiting

os.environ.update(passive_waiting(os.environ))  # before PyTorch is loaded

import argparse
import itertools
import logging
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from phasen_sb.cli import main as phasen
from phasen_sb.errors import UserError
from phasen_sb.scoring.audio import SAMPLE_RATE, read_mono
from phasen_sb.scoring.recognition import check_recogniser, recognise
from phasen_sb.scoring.transcripts import read_transcripts
from phasen_sb.scoring.word_errors import score_words
from phasen_sb.utils.files import write_atomically
from phasen_sb.utils.tables import format_markdown_table

logger = logging.getLogger(__name__)

PEAK = 0.9


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parses the options of this script."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--speech", type=Path, required=True, metavar="DIR")
    parser.add_argument("--noise", type=Path, required=True, metavar="DIR")
    parser.add_argument("--transcripts", type=Path, metavar="FILE")
    parser.add_argument("--model", metavar="MODEL", help="default: ours")
    parser.add_argument("--files", type=int, default=60, metavar="N")
    parser.add_argument(
        "--snrs", type=float, nargs="+", default=[0, 5, 10, 15], metavar="DB"
    )
    parser.add_argument(
        "--strengths",
        type=float,
        nargs="+",
        default=[0.25, 0.5, 0.75, 1.0],
        metavar="S",
    )
    parser.add_argument(
        "--output_folder", type=Path, default=Path("results/recognition")
    )
    return parser.parse_args(arguments)


def find_audio(folder: Path) -> list[Path]:
    """Lists the FLAC and WAV files below a folder, which has some."""
    files = sorted([*folder.rglob("*.flac"), *folder.rglob("*.wav")])
    if not files:
        raise UserError(f"{folder} has no FLAC or WAV files; give another.")
    return files


def mix(
    speech: np.ndarray, noise: np.ndarray, snr: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Adds a part of the noise at an SNR (dB); returns noisy and clean.

    Shorter noise is repeated. Both are scaled alike where they would clip.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> noisy, clean = mix(np.ones(4) / 2, np.ones(9) / 9, 20.0, rng)
    >>> np.round((noisy - clean) / clean, 2)
    array([0.1, 0.1, 0.1, 0.1])
    """
    start = rng.integers(len(noise))
    part = np.resize(np.roll(noise, -start), len(speech))
    power = max(np.mean(part**2), 1e-12)
    part = part * np.sqrt(np.mean(speech**2) / power / 10 ** (snr / 10))
    noisy = speech + part
    scale = min(1.0, PEAK / np.abs(noisy).max())
    return scale * noisy, scale * speech


def write_pairs(options: argparse.Namespace, name: str, snr: float) -> None:
    """Writes noisy and clean files, evenly spread over speech and noises."""
    found = find_audio(options.speech)
    chosen = found[:: max(len(found) // options.files, 1)][: options.files]
    kinds = itertools.groupby(find_audio(options.noise), lambda f: f.parent)
    noises = [list(files) for _, files in kinds]
    for i, path in enumerate(chosen):
        kind = noises[i % len(noises)]
        noise = read_mono(kind[i // len(noises) % len(kind)])
        rng = np.random.default_rng(i)
        pair = mix(read_mono(path), noise, snr, rng)
        for part, samples in zip(("noisy", "clean"), pair, strict=True):
            folder = options.output_folder / name / part
            folder.mkdir(parents=True, exist_ok=True)
            sf.write(folder / f"{path.stem}.wav", samples, SAMPLE_RATE)


def measure(options: argparse.Namespace, snr: float) -> dict[str, dict]:
    """Counts the word errors of noisy and enhanced files at an SNR."""
    name = f"{snr:g}dB"
    write_pairs(options, name, snr)
    folder = options.output_folder / name
    model = ["--model", options.model] if options.model else []
    systems = {"noisy": folder / "noisy"}
    for strength in options.strengths:
        out = folder / f"strength-{strength:g}"
        words = ["enhance", folder / "noisy", "-o", out, *model]
        words += ["--strength", strength, "--overwrite"]
        if status := phasen([str(word) for word in words]):
            sys.exit(status)
        systems[f"strength {strength:g}"] = out
    clean = {f.name: f for f in find_audio(folder / "clean")}
    heard = {
        system: recognise({key: place / key for key in clean})
        for system, place in systems.items()
    }
    said = recognise(clean)
    if options.transcripts:
        heard["clean"] = said
        spoken = read_transcripts(options.transcripts)
        said = {key: spoken.get(Path(key).stem, "") for key in clean}
    return score_words(said, heard)["systems"]


def tabulate(scores: dict[float, dict[str, dict]]) -> str:
    """Makes the table: SNRs down, systems across, rates with intervals."""
    systems = list(next(iter(scores.values())))

    def cell(score):
        low, high = (100 * value for value in score["ci95"])
        return f"{100 * score['wer']:.0f} [{low:.0f}, {high:.0f}]"

    rows = [
        [f"{snr:g} dB", *(cell(found[name]) for name in systems)]
        for snr, found in scores.items()
    ]
    return format_markdown_table(["SNR", *systems], rows)


def main(arguments: list[str]) -> None:
    """Makes the table with command-line arguments."""
    options = parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    check_recogniser("pocketsphinx")
    table = tabulate({snr: measure(options, snr) for snr in options.snrs})
    write_atomically(options.output_folder / "table.md", table + "\n")
    print(table)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
