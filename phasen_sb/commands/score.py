"""``phasen score``: objective measures of enhanced speech, file by file."""

import argparse
import importlib.util
import sys

from phasen_sb.errors import UserError
from phasen_sb.metrics.registry import (
    EXTRAS,
    METRICS,
    REFERENCE_FREE,
    USUAL_METRICS,
    resolve,
)

_RESCALED = [f"{name}_rescaled" for name in USUAL_METRICS]
DEFAULT_METRICS = (*USUAL_METRICS, *(m for m in _RESCALED if m in METRICS))

DESCRIPTION = """\
Scores enhanced files against clean ones of the same name, or, with
--reference-free, without any. Writes into --out: scores.json (mean, median and
95 % bootstrap interval for each system, failures, versions), scores.csv (every
file), report.md (what is shown on screen) and scores.png. Several --enhanced
folders are compared file by file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--clean",
        metavar="DIR",
        help="clean reference files, or one file if the others are files, too",
    )
    parser.add_argument(
        "--reference-free",
        action="store_true",
        help="there are no clean files: only measures that need none are "
        "computed",
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
        "--suffix",
        metavar="TEXT",
        help="what the names of enhanced files have at their end and clean "
        "ones not, such as _enhanced (default: .enhanced, if the files of "
        "phasen enhance are there)",
    )
    parser.add_argument(
        "--conditions",
        metavar="LOG",
        help="text file with a line 'NAME NOISE SNR' for each file, such as "
        "VoiceBank-DEMAND's log_testset.txt: scores are shown by noise and by "
        "SNR, too",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help=f"out of: {', '.join(METRICS)} (default: "
        f"{' '.join(DEFAULT_METRICS)}, and {' '.join(REFERENCE_FREE)} where "
        "their packages are installed)",
    )
    parser.add_argument(
        "--transcripts",
        metavar="TEXT",
        help="what is said in the files, to count word errors: a text file "
        "with a line 'NAME WORDS' for each, or a folder of NAME.txt",
    )
    parser.add_argument(
        "--recognised",
        nargs="+",
        action="extend",
        default=[],
        metavar="SYSTEM=TEXT",
        help="what a recogniser of yours heard in the files of a system, in "
        "the same form",
    )
    parser.add_argument(
        "--recogniser",
        choices=["pocketsphinx"],
        help="counts the word errors of this recogniser, which knows English; "
        "without --transcripts, against what it hears in the clean files "
        '(needs pip install "phasen_sb[asr]")',
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


def _choose_metrics(
    arguments: argparse.Namespace,
) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the measures to compute, and, by their package, those left out.

    The default are all usual ones whose packages are installed.
    """
    if arguments.metrics is not None:
        texts = ",".join(arguments.metrics).split(",")
        if not (names := [name for name in texts if name]):
            raise UserError(
                "--metrics names no measure; give some, such as stoi si_sdr."
            )
        return names, {}
    usual = [] if arguments.reference_free else DEFAULT_METRICS
    absent: dict[str, list[str]] = {}
    for name in REFERENCE_FREE:
        package = METRICS[name].package
        if importlib.util.find_spec(package) is None:
            absent.setdefault(package, []).append(name)
    left_out = [name for names in absent.values() for name in names]
    chosen = [*usual, *(m for m in REFERENCE_FREE if m not in left_out)]
    if not chosen:
        commands = " or ".join(f'pip install "{e}"' for e in EXTRAS.values())
        raise UserError(
            "None of the measures without reference is installed; install one "
            f"with {commands}."
        )
    return chosen, absent


def run(arguments: argparse.Namespace) -> None:
    """Scores, writes all results and prints the report."""
    if (arguments.clean is None) != arguments.reference_free:
        raise UserError(
            "Give either --clean and a folder, or --reference-free if there "
            "are no clean files."
        )
    metrics, absent = _choose_metrics(arguments)
    resolve(metrics)

    from phasen_sb.scoring.conditions import check_names, read_conditions
    from phasen_sb.scoring.folders import check_reference_free, score_folders
    from phasen_sb.scoring.plots import plot_scores
    from phasen_sb.scoring.report import to_csv, to_json, to_record, to_text
    from phasen_sb.scoring.speech import SpokenWords
    from phasen_sb.scoring.systems import find_systems
    from phasen_sb.utils.file_names import SCORES, SCORES_PER_FILE
    from phasen_sb.utils.files import write_atomically
    from phasen_sb.utils.folders import make_writable_folder

    out = make_writable_folder(arguments.out, "--out")
    if arguments.reference_free:
        check_reference_free(metrics)
    folders = arguments.clean, arguments.enhanced, arguments.noisy
    clean, systems = find_systems(*folders, arguments.suffix)
    names = clean or systems[0].files
    conditions, note = None, None
    if arguments.conditions is not None:
        conditions = read_conditions(arguments.conditions)
        note = check_names(
            conditions, names, arguments.clean or str(systems[0].folder)
        )
    spoken = SpokenWords.read(
        arguments.transcripts,
        arguments.recognised,
        arguments.recogniser,
        clean,
        systems,
    )
    scores = score_folders(
        *folders,
        metrics,
        arguments.jobs,
        arguments.timeout,
        arguments.suffix,
    )
    scores.notes += [note] if note else []
    scores.notes += [
        f"{', '.join(METRICS[m].label for m in absent[package])} not "
        f'computed: pip install "{EXTRAS[package]}".'
        for package in absent
    ]
    words = spoken.score(arguments.jobs) if spoken else None
    record = to_record(scores, conditions, words)
    text = to_text(scores, record)
    write_atomically(out / SCORES_PER_FILE, to_csv(scores))
    write_atomically(out / "report.md", text)
    plot_scores(out / "scores.png", scores)
    # Last: where it exists, the other files are complete.
    write_atomically(out / SCORES, to_json(record))
    # Names that are not UTF-8 cannot be printed as they are.
    print(text.encode(errors="backslashreplace").decode(), end="")
    print(
        f"Wrote scores.json, scores.csv, report.md and scores.png to {out}.",
        file=sys.stderr,
    )
