"""`phasen enhance`: removes noise from audio files."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from phasen_sb.commands.model_options import add_trust
from phasen_sb.errors import UserError
from phasen_sb.inference.chunks import ChunkPlan

DESCRIPTION = """\
Removes noise from the speech in audio files: WAV, FLAC, OGG, Opus, MP3, AIFF
and whatever else libsndfile reads, any sample rate, any number of channels, any
length; with pip install "phasen_sb[media]" also videos (MP4, MOV, MKV, WebM),
whose pictures are copied, and M4A, AAC, WMA and AMR. The output keeps rate,
channels, level, length and format, and goes beside the input as
NAME.enhanced.SUFFIX. Several files or a folder: what is done already is kept,
so an interrupted job continues where it stopped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, folders, patterns in quotes, or - for WAV from stdin",
    )
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="what phasen export wrote, the output folder of a training run, "
        "or a model's name on the Hugging Face hub",
    )
    add_trust(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="PATH",
        help="file (with one input), folder, or - for WAV to stdout (the "
        "default where the input is -)",
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="wav, flac, ogg, opus, mp3, aiff, ..., perhaps with a subtype: "
        "wav:PCM_24, wav:FLOAT (default: the input's)",
    )
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
    parser.add_argument(
        "--residual",
        action="store_true",
        help="also write what was removed, input minus output, as "
        "NAME.residual.wav beside the output",
    )
    parser.add_argument(
        "--normalize",
        action="store_true",
        help="scale an output down that exceeds full scale",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that are there",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="files at a time (default: 1, which uses all cores too)",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1, ... (default: CUDA if there is any)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="auto|fp32|bf16",
        help="auto: bf16 where hardware computes it (default: %(default)s)",
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=ChunkPlan.step,
        metavar="S",
        help="seconds enhanced at a time; memory grows with it (default: "
        "%(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Enhances the inputs, and names at the end those that failed."""
    if arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}; it must be at least 1.")
    if "-" in arguments.inputs:
        if len(arguments.inputs) > 1:
            raise UserError("Give - (stdin) alone, without other inputs.")
        if arguments.output is None:
            arguments.output = "-"
    if "-" in (arguments.inputs[0], arguments.output):
        with tempfile.TemporaryDirectory(prefix="phasen-") as folder:
            _enhance_stream(arguments, Path(folder))
        return
    _enhance_files(arguments, arguments.inputs, arguments.output)


def _enhance_stream(arguments, folder):
    """Pipes cannot be read twice, so they go through files."""
    source, target = arguments.inputs, arguments.output
    if source == ["-"]:
        source = [folder / "stdin.wav"]
        with open(source[0], "wb") as file:
            _copy(sys.stdin.buffer, file)
        if os.path.getsize(source[0]) == 0:
            raise UserError("There is nothing on stdin; pipe a WAV file in.")
    elif len(source) > 1 or Path(source[0]).is_dir():
        raise UserError(
            "Only one file can go to stdout; give another --output."
        )
    if target == "-":
        if arguments.residual:
            raise UserError(
                "--residual goes beside a file; give --output FILE."
            )
        arguments.format = arguments.format or "wav"
        if arguments.format.partition(":")[0].lower() != "wav":
            raise UserError(
                f"stdout takes WAV, not {arguments.format}; give --output FILE."
            )
        target = folder / "stdout.wav"
    _enhance_files(arguments, source, target)
    if arguments.output == "-":
        with open(target, "rb") as file:
            _copy(file, sys.stdout.buffer)


def _copy(source, target):
    try:
        shutil.copyfileobj(source, target)
        target.flush()
    except BrokenPipeError:
        # The reader has enough, as `| head` does; Python would complain once
        # more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UserError(
            f"The audio cannot be passed on ({error.strerror}); make room in "
            f"{tempfile.gettempdir()} or give files instead of -."
        ) from error


def _enhance_files(arguments, inputs, output):
    # Here, so that --help does not import PyTorch.
    from phasen_sb.audio.finding import describe_others
    from phasen_sb.inference.enhancer import Enhancer
    from phasen_sb.inference.jobs import enhance_files
    from phasen_sb.inference.paths import (
        check_residuals,
        find_inputs,
        hint_at_media,
        name_outputs,
        names_one_file,
    )

    found, others = find_inputs(inputs, output)
    pairs = name_outputs(found, output, arguments.format)
    if arguments.residual:
        check_residuals(pairs)
    enhancer = Enhancer.from_pretrained(
        arguments.model,
        arguments.device,
        arguments.precision,
        arguments.chunk,
        arguments.trust,
    )
    report = enhance_files(
        enhancer,
        pairs,
        arguments.jobs,
        arguments.overwrite,
        resume=not names_one_file(inputs),
        strength=arguments.strength,
        format=arguments.format,
        normalize=arguments.normalize,
        limit=arguments.limit,
        residual=arguments.residual,
    )
    if report.kept:
        print(
            f"{len(report.kept)} of {len(pairs)} outputs were there already "
            "and are kept; --overwrite makes them anew.",
            file=sys.stderr,
        )
    if others:
        words = [describe_others(others), hint_at_media(others)]
        print(f"Left out: {'; '.join(filter(None, words))}.", file=sys.stderr)
    if report.failed:
        if len(pairs) == 1:
            raise UserError(*report.failed.values())
        raise UserError(
            f"{len(report.failed)} of {len(pairs)} files failed:\n"
            + "\n".join(report.failed.values())
        )
