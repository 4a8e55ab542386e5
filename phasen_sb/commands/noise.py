"""``phasen noise``: computed noise, to train on or to listen to."""

import argparse

from phasen_sb.errors import UserError

DESCRIPTION = """\
Writes computed noise: wind, fans, engines, impacts, steps, crackle, chirps,
alarms, music. To listen to what synthetic_noise_probability adds to a training,
or for --noise_folder and --extra_noise_folder.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("destination", help="folder for wind_00.wav, ...")
    parser.add_argument(
        "--families",
        nargs="+",
        metavar="NAME",
        help="such as wind and engine (default: all)",
    )
    parser.add_argument(
        "--files",
        type=int,
        default=2,
        metavar="N",
        help="of each family (default: 2)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="length of each (default: 5)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="another seed gives other noise (default: 0)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the noise and says how much."""
    files, seconds = arguments.files, arguments.seconds
    if not 1 <= files <= 10000:
        raise UserError(f"--files is {files}; it must be 1 to 10000.")
    if not 1 <= seconds <= 60:
        raise UserError(f"--seconds is {seconds}; it must be 1 to 60.")
    from phasen_sb.data.computed_noise import write_noise

    made = write_noise(
        arguments.destination,
        arguments.families,
        files,
        seconds,
        seed=arguments.seed,
    )
    print(
        f"{len(made)} files of {seconds:g} s were written to "
        f"{arguments.destination}"
    )
