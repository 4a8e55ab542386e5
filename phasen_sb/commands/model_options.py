"""Options that several commands have."""

import argparse


def add_model(parser: argparse.ArgumentParser, default: str) -> None:
    """Declares ``--model`` and ``--trust``; ``default`` is for the help."""
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="what phasen export wrote, the output folder of a training run, "
        "the name of a model that ships, or one on the Hugging Face hub "
        f"(default: {default})",
    )
    add_trust(parser)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declares ``--trust``."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="build whatever the model names, which may run any code of its "
        "maker's (default: only layers that SECURITY.md lists)",
    )


def add_strength(parser: argparse.ArgumentParser) -> None:
    """Declares ``--strength`` and ``--limit``."""
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="0..1",
        help="less than 1 mixes the noisy signal back (default: 1)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        metavar="DB",
        help="attenuate by no more than this many dB: mixes the noisy signal "
        "back, if --strength does not mix back more (default: no limit)",
    )
