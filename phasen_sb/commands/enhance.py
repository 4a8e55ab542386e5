"""`phasen enhance`: removes noise from audio files."""

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from phasen_sb.archives.job_array import parse_shard, select_shard
from phasen_sb.commands.model_options import add_model, add_strength
from phasen_sb.errors import UserError
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.utils.start_up import importing

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
        help="files, folders, patterns in quotes, lists of files (.scp, .csv, "
        ".jsonl, .txt), or - for WAV from stdin",
    )
    add_model(parser, "default")
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
    add_strength(parser)
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
        metavar="N",
        help="files at a time (default: 1 on a CPU, which uses all cores too, "
        "32 for each GPU, but 1 of a causal model; with --engine ray one for "
        "each GPU, or each core)",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1, ..., or several GPUs: cuda:0,cuda:1 "
        "(default: CUDA if there is any)",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        metavar="auto|fp32|bf16",
        help="auto: bf16 where hardware computes it, but fp32 for a causal "
        "model (default: %(default)s)",
    )
    parser.add_argument(
        "--chunk",
        type=int,
        default=ChunkPlan.step,
        metavar="S",
        help="seconds enhanced at a time; memory grows with it (default: "
        "%(default)s)",
    )
    archive = parser.add_argument_group("archives")
    archive.add_argument(
        "--shard",
        metavar="i/n",
        help="enhance the i-th of n shares of the files, from 1/n to n/n: for "
        "job arrays; which files that are depends on their names alone",
    )
    archive.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: workers on this machine or a Ray cluster, one thread or GPU "
        "each (extra scale; default: %(default)s)",
    )
    archive.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="the Ray cluster; auto, ray://HOST:PORT or local (default: "
        "$RAY_ADDRESS or local)",
    )
    archive.add_argument(
        "--report",
        metavar="FILE",
        help="also write a table, .parquet (extra scale) or .csv, with level, "
        "clipped samples, share of speech, noise and DNSMOS (extra dnsmos) of "
        "each input",
    )


def run(arguments: argparse.Namespace) -> None:
    """Enhances the inputs, and names at the end those that failed."""
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}; it must be at least 1.")
    if arguments.address and arguments.engine != "ray":
        raise UserError("--address is that of a Ray cluster; add --engine ray.")
    if arguments.shard:
        parse_shard(arguments.shard)
    if "-" in arguments.inputs:
        if len(arguments.inputs) > 1:
            raise UserError("Give - (stdin) alone, without other inputs.")
        if arguments.output is None:
            arguments.output = "-"
    if "-" in (arguments.inputs[0], arguments.output):
        if arguments.shard or arguments.report or arguments.engine != "local":
            raise UserError(
                "--shard, --engine and --report are for files, not for -; "
                "leave them out."
            )
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
    with importing():
        from phasen_sb.archives.file_table import FileTable
        from phasen_sb.archives.inputs import (
            find_inputs,
            hint_at_media,
            names_one_file,
        )
        from phasen_sb.audio.finding import describe_others
        from phasen_sb.inference.output_paths import (
            check_residuals,
            name_outputs,
        )

    found, others = find_inputs(inputs, output)
    pairs = name_outputs(found, output, arguments.format)
    if arguments.residual:
        check_residuals(pairs)
    if arguments.shard:
        all_files = len(pairs)
        places = [place for _, place in found]
        pairs = select_shard(pairs, places, arguments.shard)
        _say(f"Share {arguments.shard}: {len(pairs)} of {all_files} files.")
    del found  # a million names take a gigabyte
    with ExitStack() as stack:
        table = None
        if arguments.report:
            table = stack.enter_context(FileTable(arguments.report))
        if arguments.engine == "ray":
            kept, failed, reasons = _use_ray(arguments, pairs, table)
        else:
            resume = bool(arguments.shard) or not names_one_file(inputs)
            kept, reasons = _use_threads(arguments, pairs, table, resume)
            failed = len(reasons)
    if kept:
        _say(
            f"{kept} of {len(pairs)} outputs were there already and are kept; "
            "--overwrite makes them anew."
        )
    if others:
        words = [describe_others(others), hint_at_media(others)]
        _say(f"Left out: {'; '.join(filter(None, words))}.")
    if failed:
        if len(pairs) == 1:
            raise UserError(*reasons)
        more = failed - len(reasons)
        raise UserError(
            f"{failed} of {len(pairs)} files failed:\n"
            + "\n".join(reasons)
            + (f"\nand {more} more, named above." if more else "")
        )


def _say(sentence):
    print(sentence, file=sys.stderr)


def _model_options(arguments):
    return {
        "source": arguments.model,
        "device": arguments.device,
        "precision": arguments.precision,
        "chunk_seconds": arguments.chunk,
        "trust": arguments.trust,
    }


def _file_options(arguments):
    names = ("strength", "format", "normalize", "limit", "residual")
    return {name: getattr(arguments, name) for name in names}


def _use_threads(arguments, pairs, table, resume):
    from phasen_sb.archives.file_table import tabulate_job
    from phasen_sb.archives.jobs import enhance_files
    from phasen_sb.inference.enhancer import FileEnhancer

    report = enhance_files(
        FileEnhancer.from_pretrained(**_model_options(arguments)),
        pairs,
        arguments.jobs,
        arguments.overwrite,
        resume=resume,
        **_file_options(arguments),
    )
    if table is not None:
        tabulate_job(table, pairs, report, arguments.jobs or 1)
    return len(report.kept), list(report.failed.values())


def _use_ray(arguments, pairs, table):
    from phasen_sb.archives.outcomes import FAILED, KEPT
    from phasen_sb.archives.progress import FileProgress
    from phasen_sb.archives.ray_engine import (
        connect,
        enhance_on_ray,
        plan_workers,
    )

    with connect(arguments.address) as cluster:
        workers, needs = plan_workers(cluster, arguments.jobs, arguments.device)
        kind = "GPU" if needs["num_gpus"] else "CPU"
        _say(f"Ray: {workers} workers, {needs['num_cpus']:g} {kind} each.")
        outcomes = enhance_on_ray(
            pairs,
            _model_options(arguments),
            {**_file_options(arguments), "overwrite": arguments.overwrite},
            workers,
            needs,
            measures=table is not None,
        )
        with closing(outcomes), FileProgress(len(pairs)) as progress:
            for outcome in outcomes:
                progress.add(outcome)
                if table is not None:
                    table.add(outcome)
    counts = progress.counts
    return counts[KEPT], counts[FAILED], progress.reasons
