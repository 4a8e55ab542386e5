"""``phasen shard``: recordings in tar archives, to train on a large corpus."""

import argparse
import logging

from phasen_sb.errors import UserError

DESCRIPTION = """\
Packs recordings into shards: tar archives that a training reads one after the
other, also from a server. Give noisy and clean recordings of the same names, or
clean speech and noise, or one of these two. Run again, it packs what is
missing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.add_argument("destination", help="folder for the shards")
    parser.add_argument("--noisy", metavar="DIR", help="noisy recordings")
    parser.add_argument("--clean", metavar="DIR", help="clean speech")
    parser.add_argument("--noise", metavar="DIR", help="noise")
    parser.add_argument(
        "--format",
        dest="audio_format",
        choices=("flac", "opus"),
        default="flac",
        help="opus takes a sixth of the space and loses something "
        "(default: flac, 16 bit)",
    )
    for name, default, metavar, text in (
        ("sample-rate", 16000, "HZ", "of the shards"),
        ("shard-minutes", 15.0, "MIN", "longest shard"),
        ("piece-seconds", 30.0, "S", "longer recordings are cut into pieces"),
        ("valid-fraction", 0.1, "SHARE", "of the files, to validate on"),
        ("test-fraction", 0.1, "SHARE", "of the files, to test on"),
    ):
        parser.add_argument(
            f"--{name}",
            type=type(default),
            default=default,
            metavar=metavar,
            help=f"{text} (default: {default:g})",
        )
    parser.add_argument(
        "--group-regex",
        metavar="REGEX",
        help="files in whose names it finds the same text share a split",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="threads (default: all CPUs)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Packs the recordings and says how to train on them."""
    for name in ("sample_rate", "shard_minutes", "piece_seconds"):
        if not getattr(arguments, name) > 0:
            option = name.replace("_", "-")
            raise UserError(
                f"--{option} is {getattr(arguments, name)}; it must be above 0."
            )
    from phasen_sb.data.shard_folders import shard_folders

    logging.basicConfig(format="%(message)s")
    options = vars(arguments)
    del options["command"]
    for kind, index in shard_folders(**options).items():
        shards = index["shards"]
        hours = sum(facts["seconds"] for facts in shards.values()) / 3600
        gigabytes = sum(facts["bytes"] for facts in shards.values()) / 1e9
        print(
            f"{kind}-{{000000..{len(shards) - 1:06d}}}.tar: {hours:.2f} hours, "
            f"{gigabytes:.3f} GB"
        )
        for path, reason in sorted(index["left_out"].items()):
            print(f"left out: {path}: {reason}")
