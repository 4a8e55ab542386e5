"""`phasen convert`: weights of the public reference code as a model of ours."""

import argparse

DESCRIPTION = """\
Converts a checkpoint that was trained with the public reference code of PHASEN
(github.com/huyanxin/phasen) into the folder that phasen enhance, phasen export
and SpeechBrain's WaveformEnhancement load.
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
    parser.add_argument("checkpoint", metavar="REFERENCE.pth")
    parser.add_argument("out", metavar="OUT_DIR", help="folder to write")
    parser.add_argument(
        "--hop",
        type=int,
        metavar="SAMPLES",
        help="hop of the STFT, which no tensor tells (default: a quarter of "
        "the window)",
    )
    parser.add_argument(
        "--sample-rate",
        type=int,
        default=16000,
        metavar="HZ",
        help="rate that it was trained at (default: %(default)s)",
    )
    parser.add_argument(
        "--license",
        default="other",
        metavar="ID",
        help="licence of the weights in the model card (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace an exported model in OUT_DIR",
    )


def run(arguments: argparse.Namespace) -> None:
    """Converts and says what was written.

    Arguments
    ---------
    arguments : argparse.Namespace
        See `add_arguments`.

    Raises
    ------
    UserError
        If the checkpoint is no reference PHASEN, or OUT_DIR cannot be
        written.
    """
    from phasen_sb.export.conversion import convert_reference
    from phasen_sb.export.folder import check_target, write_export

    check_target(arguments.out, arguments.overwrite)
    model = convert_reference(
        arguments.checkpoint, arguments.hop, arguments.sample_rate
    )
    folder = write_export(
        model, arguments.out, arguments.license, arguments.overwrite
    )
    print(f"Wrote {folder}; use it with: phasen enhance --model {folder} FILE")
