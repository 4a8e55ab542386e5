"""Options of every command that loads a model."""

import argparse


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Declares ``--trust``."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="build whatever the model names, which may run any code of its "
        "maker's (default: only layers that SECURITY.md lists)",
    )
