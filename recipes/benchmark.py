#!/usr/bin/env python3
"""Measures speed and memory of enhancing and training on this machine.

    python recipes/benchmark.py
    python recipes/benchmark.py --seconds 4 60 --other their_model.py

Each workload runs in a process of its own, on the CPU; with ``--device cuda``
all run in one, on a GPU, where products in fp32 are computed in TF32.
``--other`` also measures somebody else's model: a Python file whose ``load()``
returns a module that maps waveforms ``[batch, samples]``. Results are written
after each workload, so that those of a stopped benchmark are kept; a workload
that fails, for want of memory for example, is named and left out. On the CPU
one workload runs beside busy neighbours: as many processes as it has threads,
each of which would keep a core busy by itself.
"""

import os

from phasen_sb.utils.openmp import passive_waiting

os.environ.update(passive_waiting(os.environ))  # before PyTorch is loaded

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from phasen_sb.benchmark.report import draw_growth, to_markdown
from phasen_sb.benchmark.workloads import (
    SAMPLE_RATE,
    Workload,
    build,
    machine_peak,
    measure,
    try_other,
)
from phasen_sb.errors import UserError
from phasen_sb.models.cost import model_cost
from phasen_sb.native.library import describe_kernels
from phasen_sb.optimized import is_optimizable
from phasen_sb.utils.files import write_atomically, write_json
from phasen_sb.utils.hardware import (
    PRECISIONS,
    check_compiler,
    fastest_precision,
)
from phasen_sb.utils.provenance import provenance

#: Audio in a folder that a GPU enhances (s).
FOLDER_SECONDS = 2000


def run_in_own_process(device: str, function: Callable, *arguments):
    """Calls a function in a fresh process, so that its memory can be measured.

    For a GPU in this one: PyTorch itself counts the memory it uses there.
    """
    if device == "cuda":
        torch.cuda.empty_cache()
        return function(*arguments)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def plan_workloads(
    options: argparse.Namespace, optimizable: bool
) -> list[Workload]:
    """Lists what will be measured."""
    engines = ["plain", "optimized"] + ["other"] * bool(options.other)
    if not optimizable or options.device != "cpu":
        engines.remove("optimized")
    trained = [engine for engine in engines if engine != "optimized"]
    if options.compile:
        trained.insert(1, "compiled")
    in_chunks = "optimized" if "optimized" in engines else "plain"
    training = options.train_seconds, options.train_batch
    rows = []
    on_cpu = options.device == "cpu"
    for threads in options.threads if on_cpu else options.threads[-1:]:
        planned = []
        for seconds in options.seconds:
            planned += [("enhance", engine, seconds) for engine in engines]
            planned.append(("enhance in chunks", in_chunks, seconds))
            if not on_cpu:
                files = max(1, round(FOLDER_SECONDS / seconds))
                planned.append(("enhance a folder", in_chunks, seconds, files))
        if options.train_batch:
            planned += [("train", engine, *training) for engine in trained]
        rows += [
            Workload(task, engine, precision, threads, *sizes)
            for task, engine, *sizes in planned
            for precision in options.precisions
        ]
    if on_cpu:
        # How much slower it is where each core has other work, too.
        threads = options.threads[-1]
        chunks = in_chunks, options.precisions[-1], threads
        busy = Workload("enhance in chunks", *chunks, min(options.seconds))
        rows.append(busy._replace(neighbours=threads))
    rows = [row._replace(device=options.device) for row in rows]
    if options.train_batch:
        load = Workload("load", "1 worker", "-", 1, *training)
        placed = load._replace(engine="corpus on device", device=options.device)
        rows += [load, placed]
    return rows


def run_benchmark(options: argparse.Namespace) -> list[dict]:
    """Measures everything and prints a line for each workload."""
    model = build(options.hparams, "plain", None)
    macs = model_cost(model, SAMPLE_RATE)
    if options.other:
        run_in_own_process(
            options.device,
            try_other,
            options.other,
            list_shapes(options),
            options.device,
        )
    if options.compile:
        check_compiler()
    peaks = {}
    rows = []
    if options.output.exists() and not options.output.is_dir():
        raise UserError(f"{options.output} is a file; give another --output.")
    options.output.mkdir(parents=True, exist_ok=True)
    planned = plan_workloads(options, is_optimizable(model))
    for workload in planned:
        try:
            time, memory = run_in_own_process(
                options.device,
                measure,
                workload,
                options.hparams,
                options.other,
            )
        # PyTorch's own, of a compiler, or of a process that was killed.
        except (RuntimeError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            print(f"{workload} failed: {reason}", file=sys.stderr)
            continue
        machine = workload.precision, workload.threads
        known = workload.engine in ("plain", "optimized", "compiled")
        if known and machine not in peaks:
            peaks[machine] = run_in_own_process(
                options.device, machine_peak, *machine, options.device
            )
        audio = workload.seconds * workload.batch
        flops = None
        if known:
            # Backward takes twice the forward's products.
            flops = 2 * macs.macs_per_second * audio / time
            flops *= 3 if workload.task == "train" else 1
        device = workload.device
        if device == "cuda":
            device = torch.cuda.get_device_name()
        row = workload._asdict() | {
            "device": device,
            "time": time,
            "memory": memory,
            "rtf": time / audio,
            "gflops": flops and flops / 1e9,
        }
        rows.append(row)
        add_shares(rows, peaks)
        print(f"{workload}: {row['rtf']:.4f} s per second", file=sys.stderr)
        add_speedups(rows)
        write_results(rows, len(planned), options)
    if not rows:
        raise UserError("No workload could be measured; see above.")
    return rows


def write_results(
    rows: list[dict], planned: int, options: argparse.Namespace
) -> None:
    """Writes numbers, table and plot of what was measured so far."""
    settings = vars(options) | {"output": str(options.output)}
    write_json(
        options.output / "benchmark.json",
        {"options": settings, "rows": rows, "planned_rows": planned}
        | provenance(),
    )
    write_atomically(options.output / "benchmark.md", to_markdown(rows))
    draw_growth(rows, options.output / "benchmark.png")


def list_shapes(options: argparse.Namespace) -> list[tuple[int, float]]:
    """Lists batch and seconds of what the other model will be given first."""
    shapes = [(1, min(options.seconds))]
    if options.train_batch:
        shapes.append((options.train_batch, options.train_seconds))
    return shapes


def add_shares(rows: list[dict], peaks: dict) -> None:
    """Adds shares of the machine's peak.

    That is the speed of a product of large matrices, or of the fastest
    workload where this is faster.
    """
    for row in rows:
        row["share"] = None
        if row["gflops"] is None:
            continue
        machine = row["precision"], row["threads"]
        alike = [
            other["gflops"]
            for other in rows
            if other["gflops"] is not None
            and (other["precision"], other["threads"]) == machine
        ]
        row["share"] = row["gflops"] / max(peaks[machine] / 1e9, *alike)


def add_speedups(rows: list[dict]) -> None:
    """Adds speeds relative to the other model in fp32, or else to ours."""
    for row in rows:
        same = [
            other
            for other in rows
            if other["task"].split()[0] == row["task"].split()[0]
            and other["threads"] == row["threads"]
            and other["seconds"] == row["seconds"]
            and other["precision"] == "fp32"
            and not other["neighbours"]
        ]
        baseline = [r for r in same if r["engine"] == "other"] or [
            r for r in same if r["engine"] == "plain"
        ]
        row["speedup"] = baseline and baseline[0]["rtf"] / row["rtf"] or None


def make_number_type(kind: type, least: float) -> Callable[[str], float]:
    """Makes a type for argparse: finite numbers of at least ``least``."""

    def read(text):
        value = kind(text)
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(
                f"{text} must be a number of at least {least}"
            )
        return value

    read.__name__ = kind.__name__  # what argparse calls it in errors
    return read


def main(arguments: list[str]) -> None:
    """Runs the benchmark with command-line arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--hparams", default="hparams/phasen.yaml")
    parser.add_argument(
        "--seconds",
        type=make_number_type(float, 0.01),
        nargs="+",
        default=[4.0, 20.0, 60.0],
    )
    parser.add_argument(
        "--threads",
        type=make_number_type(int, 1),
        nargs="+",
        default=sorted({1, torch.get_num_threads()}),
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=list(PRECISIONS),
        help="default: fp32, and bf16 where the hardware computes it",
    )
    parser.add_argument(
        "--train_batch",
        type=make_number_type(int, 0),
        default=4,
        help="0: neither training nor loading of its data",
    )
    parser.add_argument(
        "--train_seconds", type=make_number_type(float, 0.01), default=4.0
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="measure training with --compile, too, on a CPU with half of the "
        "activations; takes minutes and a C++ compiler",
    )
    parser.add_argument("--other", help="Python file with load()")
    parser.add_argument(
        "--output", type=Path, default=Path("results/benchmark")
    )
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "PyTorch finds no GPU here for --device cuda; leave it out."
        )
    if options.precisions is None:
        fastest = fastest_precision(options.device)
        options.precisions = list(dict.fromkeys(["fp32", fastest]))
    print(to_markdown(run_benchmark(options)))
    for name in options.precisions if options.device == "cpu" else ():
        print(f"optimized, {name}: {describe_kernels(PRECISIONS[name])}")
    print(f"Written to {options.output}.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print(
            "Stopped; what was measured is in the folder of --output.",
            file=sys.stderr,
        )
        sys.exit(130)
