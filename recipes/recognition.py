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
import torch

from phasen_sb.audio.finding import find_audio
from phasen_sb.cli import main as phasen
from phasen_sb.data.mixing import mix_at_snr
from phasen_sb.errors import UserError
from phasen_sb.scoring.audio import SAMPLE_RATE, read_mono
from phasen_sb.scoring.recognition import check_recogniser, recognise
from phasen_sb.scoring.transcripts import read_transcripts
from phasen_sb.scoring.word_errors import score_words
from phasen_sb.utils.files import write_atomically
from phasen_sb.utils.tables import format_markdown_table

logger = logging.getLogger(__name__)


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


def write_pairs(options: argparse.Namespace, name: str, snr: float) -> None:
    """Writes noisy and clean files, evenly spread over speech and noises."""
    found = list(find_audio(options.speech).items())
    chosen = found[:: max(len(found) // options.files, 1)][: options.files]
    files = find_audio(options.noise).values()
    noises = [list(kind) for _, kind in itertools.groupby(files, _folder)]
    for i, (utterance, path) in enumerate(chosen):
        kind = noises[i % len(noises)]
        noise = read_mono(kind[i // len(noises) % len(kind)])
        speech = read_mono(path)
        # From a random sample on, and from its start again where it ends.
        start = np.random.default_rng(i).integers(len(noise))
        part = np.resize(np.roll(noise, -start), len(speech))
        pair = mix_at_snr(torch.tensor(speech), torch.tensor(part), snr)
        for what, samples in zip(("noisy", "clean"), pair, strict=True):
            folder = options.output_folder / name / what
            folder.mkdir(parents=True, exist_ok=True)
            sf.write(folder / f"{utterance}.wav", samples, SAMPLE_RATE)


def _folder(path):
    return path.parent


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
    clean = {path.name: path for path in find_audio(folder / "clean").values()}
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
