"""The console command ``phasen`` with its subcommands.

Example
-------
>>> main(["skore"])
Traceback (most recent call last):
...
SystemExit: 2
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from phasen_sb.errors import UserError
from phasen_sb.utils.openmp import passive_waiting
from phasen_sb.utils.version import VERSION

# Summaries are here, so that ``phasen --help`` imports no command.
COMMANDS = {
    "babble": "mix the noise of many voices, to train on",
    "convert": "turn weights of the public reference code into a model",
    "demo": "hear noisy and enhanced speech side by side in the browser",
    "enhance": "remove noise from audio files",
    "export": "turn a training run into a folder that loads anywhere",
    "leaderboard": "compare your runs with published results, as a web page",
    "live": "remove noise from a microphone while it is heard",
    "noise": "compute noise without end, to train on or to listen to",
    "runs": "list training runs, what differs between them, and their curves",
    "score": "score enhanced speech with objective measures, compare systems",
    "select": "pick the clean recordings of a corpus, to train on",
    "shard": "pack a large corpus into tar archives, to train on",
}


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="phasen",
        description="Speech enhancement with PHASEN.",
    )
    parser.add_argument(
        "--version", action="version", version=f"phasen_sb {VERSION}"
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True
    )
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == chosen:
            _module(name).add_arguments(command)
    return parser


def _module(command: str):
    return import_module(f"phasen_sb.commands.{command}")


def _refuse_empty(argv: Sequence[str]) -> None:
    """An empty path would be the current folder."""
    for before, word in zip(["phasen", *argv], argv, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise UserError(
                f"The argument after {word or before} is empty, perhaps a "
                "variable that is not set; give a value."
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Arguments
    ---------
    argv : sequence of str, optional
        What follows ``phasen`` on the command line; by default that of this
        process.

    Returns
    -------
    int
        The exit status: 0, 1 after an error the user can fix, 130 after
        Ctrl-C; argparse itself exits with 2.
    """
    # Before a command loads PyTorch.
    os.environ.update(passive_waiting(os.environ))
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        _refuse_empty(argv)
        chosen = next((word for word in argv if word in COMMANDS), None)
        arguments = _parser(chosen).parse_args(argv)
        _module(arguments.command).run(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
