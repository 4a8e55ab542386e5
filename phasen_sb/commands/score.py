"""`phasen score`: objective measures of enhanced speech, file by file."""

import argparse
import os
import sys
from pathlib import Path

from phasen_sb.errors import UserError
from phasen_sb.metrics.registry import METRICS, resolve
from phasen_sb.utils.file_names import SCORES, SCORES_PER_FILE

FAMILY_SUFFIX = "_rescaled"
DEFAULT_METRICS = (
    *("pesq_wb", "pesq_nb", "stoi", "estoi", "si_sdr"),
    *("ssnr", "csig", "cbak", "covl"),
    *(name + FAMILY_SUFFIX for name in ("ssnr", "csig", "cbak", "covl")),
)

DESCRIPTION = """\
Scores enhanced files against clean ones of the same name. Writes into --out:
scores.json (mean, median and 95 % bootstrap interval for each system, failures,
versions), scores.csv (every file), report.md (what is shown on screen) and
scores.png. Several --enhanced folders are compared file by file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of the command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        The subcommand's parser.
    """
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--clean", required=True, metavar="DIR", help="clean reference files"
    )
    parser.add_argument(
        "--enhanced",
        required=True,
        nargs="+",
        action="extend",
        metavar="[NAME=]DIR",
        help="enhanced files; several folders are compared as systems, each "
        "called NAME or like its folder",
    )
    parser.add_argument(
        "--noisy",
        metavar="DIR",
        help="files before enhancement: scored too, used for the input SNR and "
        "to check that VoiceBank-DEMAND's test set is the literature's",
    )
    parser.add_argument(
        "--conditions",
        metavar="LOG",
        help="text file with a line 'NAME NOISE SNR' for each file, such as "
        "VoiceBank-DEMAND's log_testset.txt: scores are told by noise and by "
        "SNR too",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=list(DEFAULT_METRICS),
        metavar="NAME",
        help=f"out of: {', '.join(METRICS)} (default: "
        f"{' '.join(DEFAULT_METRICS)})",
    )
    parser.add_argument(
        "--jobs",
        type=_positive(int),
        metavar="N",
        help="number of processes (default: one for each CPU)",
    )
    parser.add_argument(
        "--timeout",
        type=_positive(float),
        default=60.0,
        metavar="S",
        help="seconds that one file may take before it counts as failed "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--out",
        default="scores",
        metavar="DIR",
        help="where the results go (default: %(default)s)",
    )


def _positive(kind):
    def number(text: str):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def run(arguments: argparse.Namespace) -> None:
    """Scores, writes all results and prints the report.

    Arguments
    ---------
    arguments : argparse.Namespace
        See `add_arguments`.

    Raises
    ------
    UserError
        If an argument, a folder or a file cannot be used.
    """
    metrics = [name for text in arguments.metrics for name in text.split(",")]
    resolve(filter(None, metrics))
    out = writable_folder(arguments.out)

    from phasen_sb.scoring.conditions import check_names, read_conditions
    from phasen_sb.scoring.folders import find_systems, score_folders
    from phasen_sb.scoring.plots import plot_scores
    from phasen_sb.scoring.report import to_csv, to_json, to_record, to_text
    from phasen_sb.utils.files import write_atomically

    conditions, note = None, None
    folders = arguments.clean, arguments.enhanced, arguments.noisy
    if arguments.conditions is not None:
        conditions = read_conditions(arguments.conditions)
        note = check_names(conditions, find_systems(*folders)[0], folders[0])
    scores = score_folders(
        *folders,
        filter(None, metrics),
        arguments.jobs,
        arguments.timeout,
    )
    scores.notes += [note] if note else []
    record = to_record(scores, conditions)
    text = to_text(scores, record)
    write_atomically(out / SCORES_PER_FILE, to_csv(scores))
    write_atomically(out / "report.md", text)
    write_atomically(out / "scores.png", plot_scores(scores))
    # Last, so that whoever finds it finds the others too.
    write_atomically(out / SCORES, to_json(record))
    print(text, end="")
    print(
        f"Wrote scores.json, scores.csv, report.md and scores.png to {out}.",
        file=sys.stderr,
    )


def writable_folder(path: str) -> Path:
    """Makes the folder of results now, rather than fail after the work.

    Arguments
    ---------
    path : str
        What the user gave as --out.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    UserError
        If it cannot be made or written to.
    """
    out = Path(path).expanduser().absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder --out {out} cannot be made: {error.strerror}; choose "
            "another one."
        ) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise UserError(
            f"The folder --out {out} cannot be written to; choose another one."
        )
    return out
