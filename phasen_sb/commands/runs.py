"""``phasen runs``: training runs side by side."""

import argparse
import sys
from pathlib import Path

DESCRIPTION = """\
Lists the training runs in a folder: what differs in their settings, their test
scores (and the gain over the noisy input), time and hardware; unfinished and
broken ones too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument(
        "folder", metavar="DIR", help="where output folders lie, at any depth"
    )
    parser.add_argument(
        "--curves",
        metavar="FILE",
        help="draw losses and scores of all runs by epoch into one PNG",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="also write a page, one file, with tables and curves",
    )


def run(arguments: argparse.Namespace) -> None:
    """Prints the table, and writes picture and page."""
    from phasen_sb.runs.curves import draw_curves
    from phasen_sb.runs.page import to_html
    from phasen_sb.runs.record import find_runs
    from phasen_sb.runs.settings import find_differences
    from phasen_sb.runs.table import rank_runs, to_markdown
    from phasen_sb.utils.files import write_atomically
    from phasen_sb.utils.folders import existing_folder

    folder = existing_folder(arguments.folder, "The folder of the runs")
    runs = rank_runs(find_runs(folder))
    differences = find_differences([run.settings for run in runs])
    print(to_markdown(runs, differences), end="")
    for one in runs:
        if one.reason:
            print(f"{one.name} is broken: {one.reason}", file=sys.stderr)
    if arguments.curves:
        if draw_curves(Path(arguments.curves).expanduser(), runs):
            print(f"Wrote {arguments.curves}.", file=sys.stderr)
        else:
            print("No run has finished an epoch to draw.", file=sys.stderr)
    if arguments.html:
        page = to_html(runs, differences, folder.name)
        write_atomically(Path(arguments.html).expanduser(), page)
        print(f"Wrote {arguments.html}.", file=sys.stderr)
