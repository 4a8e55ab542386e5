"""`phasen convert`: weights of the public reference code as a model of ours."""

import argparse

from phasen_sb.commands.export import add_output_arguments, write_model

DESCRIPTION = """\
Converts a checkpoint that was trained with the public reference code of PHASEN
(github.com/huyanxin/phasen) into the folder that phasen enhance, phasen export
and SpeechBrain's WaveformEnhancement load.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("checkpoint", metavar="REFERENCE.pth")
    parser.add_argument(
        "--hop",
        type=int,
        metavar="SAMPLES",
        help="hop of the STFT, which no tensor shows (default: a quarter of "
        "the window)",
    )
    parser.add_argument(
        "--sample-rate",
        type=int,
        default=16000,
        metavar="HZ",
        help="rate that it was trained at (default: %(default)s)",
    )
    # The licence of other people's weights is not ours to state.
    add_output_arguments(parser, licence="other")


def run(arguments: argparse.Namespace) -> None:
    """Converts the checkpoint and says what was written."""
    # Here, so that --help does not import PyTorch.
    from phasen_sb.models.reference import read_reference_checkpoint

    write_model(
        arguments,
        lambda: read_reference_checkpoint(
            arguments.checkpoint, arguments.hop, arguments.sample_rate
        ),
    )
