"""``phasen leaderboard``: published results and our runs on one page."""

import argparse
import contextlib
import sys

from phasen_sb.commands.model_options import add_trust

DESCRIPTION = """\
Puts published VoiceBank-DEMAND results and runs of yours side by side. Writes
into --out: leaderboard.html (one file that works offline: tables, plot,
players), leaderboard.md and leaderboard.csv.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--runs",
        nargs="+",
        action="extend",
        default=[],
        metavar="[NAME=]DIR",
        help="output folders of recipes/train.py (results.json) or of phasen "
        "score (scores.json), each called NAME or like its folder",
    )
    parser.add_argument(
        "--listen",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="names of test files to listen to on the page (default: worst, "
        "median and best of the first run)",
    )
    parser.add_argument(
        "--audio-budget",
        type=_megabytes,
        default=6.0,
        metavar="MB",
        help="what all recordings may add to the page; 0 for none (default: "
        "%(default)g)",
    )
    parser.add_argument(
        "--out",
        default="leaderboard",
        metavar="DIR",
        help="where the results go (default: %(default)s)",
    )
    add_trust(parser)


def _megabytes(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text} is not a size in MB")


def run(arguments: argparse.Namespace) -> None:
    """Writes the leaderboard and says what is on it."""
    from phasen_sb.leaderboard.entries import read_own, read_published
    from phasen_sb.leaderboard.listening import choose_files, embed_files
    from phasen_sb.leaderboard.page import to_html
    from phasen_sb.leaderboard.runs import read_runs
    from phasen_sb.leaderboard.tables import to_csv, to_markdown
    from phasen_sb.utils.files import write_atomically
    from phasen_sb.utils.folders import make_writable_folder

    runs = read_runs(arguments.runs, arguments.trust)
    out = make_writable_folder(arguments.out, "--out")
    utterances, notes = [], []
    if arguments.audio_budget:
        names = arguments.listen or choose_files(runs)
        utterances, notes = embed_files(
            runs, dict.fromkeys(names), arguments.audio_budget
        )
    entries = read_own()
    for measured in runs:
        for entry in (measured.noisy, measured.entry):
            if entry is not None and entry not in entries:
                entries.append(entry)
    entries += read_published()
    write_atomically(out / "leaderboard.csv", to_csv(entries))
    write_atomically(out / "leaderboard.md", to_markdown(entries))
    write_atomically(out / "leaderboard.html", to_html(entries, utterances))
    for note in notes:
        print(note, file=sys.stderr)
    print(
        f"Wrote leaderboard.html, leaderboard.md and leaderboard.csv to {out}: "
        f"{len(entries)} results, {len(utterances)} files to listen to."
    )
