"""``phasen select``: the clean recordings of a corpus, to train on."""

import argparse

from phasen_sb.errors import UserError

DESCRIPTION = """\
Links those recordings of a folder that are clean into another folder, to train
on: those in which the levels of 25 ms frames range widely, from the speech down
to the pauses.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("folder", help="recordings of speech, at any depth")
    parser.add_argument("destination", help="folder for the links")
    parser.add_argument(
        "--level-range",
        type=float,
        default=42.0,
        metavar="DB",
        help="lowest range of levels in a recording, from the 5th to the 95th "
        "percentile (default: 42)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Selects the recordings and says how many there are."""
    lowest = arguments.level_range
    if not lowest > 0:
        raise UserError(f"--level-range is {lowest}; it must be above 0.")
    from phasen_sb.data.select_clean import select_clean

    ranges = select_clean(arguments.folder, arguments.destination, lowest)
    count = sum(value >= lowest for value in ranges.values())
    print(
        f"{count} of {len(ranges)} recordings were selected into "
        f"{arguments.destination}"
    )
