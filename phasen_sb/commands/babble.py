"""``phasen babble``: the noise of many voices, to train on."""

import argparse

from phasen_sb.errors import UserError

DESCRIPTION = """\
Mixes recordings of speech to the noise of many voices, for --extra_noise_folder
or --noise_folder of a training. Leave the voices of validation and test out.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("folder", help="recordings of speech, at any depth")
    parser.add_argument("destination", help="folder for babble_00.wav, ...")
    parser.add_argument(
        "--files",
        type=int,
        default=24,
        metavar="N",
        help="how many (default: 24)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=80.0,
        metavar="S",
        help="length of each (default: 80)",
    )
    parser.add_argument(
        "--voices",
        type=int,
        nargs=2,
        default=[3, 24],
        metavar=("LOW", "HIGH"),
        help="fewest and most voices at a time (default: 3 24)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="another seed gives other babble (default: 0)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Makes the noise and says how much was written."""
    files, seconds = arguments.files, arguments.seconds
    low, high = arguments.voices
    if not 1 <= files <= 10000:
        raise UserError(f"--files is {files}; it must be 1 to 10000.")
    if not 1 <= seconds <= 600:
        raise UserError(f"--seconds is {seconds}; it must be 1 to 600.")
    if not 1 <= low <= high <= 100:
        raise UserError(
            f"--voices is {low} {high}; give two numbers of 1 to 100, the "
            "smaller first."
        )
    from phasen_sb.data.babble import make_babble

    made = make_babble(
        arguments.folder,
        arguments.destination,
        files,
        seconds,
        (low, high),
        seed=arguments.seed,
    )
    print(
        f"{len(made)} files of {seconds:g} s were written to "
        f"{arguments.destination}"
    )
