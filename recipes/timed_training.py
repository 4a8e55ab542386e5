#!/usr/bin/env python3
"""Trains for a given time on whatever GPU there is, however bare its machine.

    python recipes/timed_training.py hparams/phasen_plus.yaml --pack PACK \
        --time_limit 600 --output_folder OUT
    python recipes/timed_training.py hparams/phasen_pesq.yaml --pack PACK.tar \
        --batches 16 32 48 --crop_seconds 4 --init_from default --lr 3e-4

First it finds the fastest of some ways to train (throughput.md), then it trains
that way until 30 s before the limit. Every minute it writes log.jsonl and the
folder model, an exported model of fp16. Started again with the same folder, it
goes on from that model, with a new optimizer. Other options are the recipe's
keys and SpeechBrain's options; --init_from default is the model that ships.
PACK: docs/train.md.
"""

import os

from phasen_sb.utils.openmp import passive_waiting

os.environ.update(passive_waiting(os.environ))  # before PyTorch is loaded

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from speechbrain.utils.distributed import infer_device

from phasen_sb.configuration.inheritance import dump
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.configuration.run_options import (
    parse_arguments,
    settle_run_options,
)
from phasen_sb.data.pack import decode_pack, find_pack
from phasen_sb.errors import UserError
from phasen_sb.export.snapshot import find_snapshot, write_snapshot
from phasen_sb.models.description import read_description
from phasen_sb.models.loading import StoredModel, read_model
from phasen_sb.training.throughput import (
    Trial,
    Variant,
    choose_fastest,
    tabulate_trials,
    try_variants,
)
from phasen_sb.training.timed import (
    Batches,
    Counter,
    TimedTraining,
    make_brain,
    read_log,
    restart,
)
from phasen_sb.utils.file_names import DESCRIPTION
from phasen_sb.utils.files import write_atomically
from phasen_sb.utils.freed_memory import keep_freed_memory
from phasen_sb.utils.hardware import fastest_precision

logger = logging.getLogger(__name__)

#: From this time limit on (s) compiling pays.
WORTH = 300


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Parses the options of this script; returns the others as they are."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("--pack", required=True, metavar="PACK")
    parser.add_argument("--time_limit", type=float, default=600, metavar="S")
    parser.add_argument(
        "--margin",
        type=float,
        default=30,
        metavar="S",
        help="seconds that are left at the end (default: 30)",
    )
    parser.add_argument(
        "--output_folder", type=Path, default=Path("results/timed")
    )
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        metavar="N",
        help="to try (default: 1, 2 and 4 times the recipe's batch_size)",
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        default=None,
        metavar="MODE",
        help="of torch.compile, to try with the best batch (default on a GPU "
        "with over 5 minutes: default); none: 'eager' alone",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=["auto", "fp32"],
        metavar="P",
        help="to try, instead of --precision (default: auto fp32)",
    )
    parser.add_argument("--table_seconds", type=float, default=40, metavar="S")
    parser.add_argument(
        "--compile_seconds",
        type=float,
        default=120,
        metavar="S",
        help="that each mode may take (default: 120), up to half of the time "
        "that is left",
    )
    parser.add_argument(
        "--archive",
        action="store_true",
        help="write model.tar.gz, under 16 MiB, instead of the folder model",
    )
    return parser.parse_known_args(arguments)


def plan_variants(
    options: argparse.Namespace, batch_size: int, device: str, trials: list
) -> Iterator[Variant]:
    """Lists what to try; later variants depend on earlier trials."""
    best, *others = dict.fromkeys(
        fastest_precision(device) if name == "auto" else name
        for name in options.precisions
    )
    batches = options.batches or [batch_size * n for n in (1, 2, 4)]
    for batch in batches:
        yield Variant(batch, "eager", best)
    chosen = choose_fastest(trials)
    batch = chosen.variant.batch if chosen else min(batches)
    for precision in others:
        yield Variant(batch, "eager", precision)
    modes = options.modes
    if modes is None:
        worth = device != "cpu" and options.time_limit > WORTH
        modes = ["default"] if worth else []
    for mode in modes:
        if mode != "eager":
            yield Variant(batch, mode, best)


class Session:
    """One run: what is built of the recipe, for trials and for the training."""

    def __init__(self, recipe: Recipe, run_opts, scratch: Path, folder: Path):
        self.recipe = recipe
        self.hparams = recipe.load()
        self.run_opts = settle_run_options(run_opts, self.hparams)
        self.device = self.run_opts.device or infer_device()
        if torch.device(self.device).type == "cpu":
            keep_freed_memory()
        self.state = read_weights(folder, self.hparams["init_from"], scratch)
        self.counter = Counter()
        # Kernels by trial; the shapes stay the same.
        torch.backends.cudnn.benchmark = True
        self.brain = None
        self.ready: Variant | None = None

    def build(self, variant: Variant) -> None:
        """Builds the Brain of a variant, unless it is there already."""
        if variant == self.ready:
            return
        self.brain = self.ready = None
        self.brain = make_brain(self.recipe, self.run_opts, variant, self.state)
        state = self.brain.enhancer.state_dict()
        self.initial = {key: value.clone() for key, value in state.items()}
        self.ready = variant

    def load_data(self, recordings: dict) -> None:
        """Puts recordings into the memory of the device."""
        self.batches = Batches(
            recordings, self.hparams, self.device, self.counter
        )

    def prepare(self, variant: Variant):
        """Makes the function that the trial of a variant calls."""
        self.build(variant)
        brain = self.brain

        def step():
            brain.step += 1
            brain.fit_batch(self.batches.make(variant.batch))

        return step

    def synchronize(self) -> None:
        """Waits for the device, and reads the steps that it made."""
        if self.brain is not None:
            self.brain.read_steps()
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def make_noise(sample_rate: int, seconds: float) -> dict:
    """Makes recordings for trials, while the real ones are being decoded."""
    generator = torch.Generator().manual_seed(0)
    samples = round(max(30, 2 * seconds) * sample_rate)
    return {
        part: [
            (3000 * torch.randn(samples, generator=generator)).short()
            for _ in range(4)
        ]
        for part in ("speech", "noise")
    }


def find_fastest(
    session: Session, options: argparse.Namespace, began: float
) -> Trial:
    """Tries variants and writes the table of them."""
    trials: list[Trial] = []
    table_ends = time.monotonic() + options.table_seconds
    end = began + options.time_limit - options.margin
    until = end  # one way to train must be found

    def plan():
        nonlocal until
        for variant in plan_variants(
            options, session.hparams["batch_size"], session.device, trials
        ):
            if variant.mode != "eager":
                now = time.monotonic()  # the training keeps half of the rest
                until = min(now + options.compile_seconds, (now + end) / 2)
            elif choose_fastest(trials) is not None:
                until = min(end, table_ends)
            yield variant

    for variant in plan():
        [trial] = try_variants(
            [variant],
            session.prepare,
            session.hparams["crop_seconds"],
            until,
            session.synchronize,
        )
        if trial.speed is None and session.ready == variant:
            session.brain = session.ready = None  # stopped within a step
        trials.append(trial)
        write_atomically(
            options.output_folder / "throughput.md", tabulate_trials(trials)
        )
        logger.info(str(trial))
    chosen = choose_fastest(trials)
    if chosen is None:
        raise UserError(
            "No way to train worked; see throughput.md in "
            f"{options.output_folder}: {trials[0].problem.rstrip('.')}. If "
            "only time was lacking, give a larger --time_limit."
        )
    return chosen


def read_weights(
    folder: Path, init_from: str | None, scratch: Path
) -> dict | None:
    """Reads the weights to start from: those of an earlier run go first."""
    source = find_snapshot(folder, scratch) or init_from
    if source is None:
        return None
    return read_model(source).state


def measure_age() -> float:
    """Seconds since this process was started: imports alone take some."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):  # not Linux
        return 0.0
    return age if 0 <= age < 300 else 0.0  # some sandboxes tell another time


def main(arguments: list[str]) -> None:
    """Trains with command-line arguments."""
    began = time.monotonic() - measure_age()
    options, others = parse(arguments)
    folder = options.output_folder
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    log = read_log(folder)
    with tempfile.TemporaryDirectory() as scratch:
        pack = find_pack(options.pack, Path(scratch, "pack"))
        # Whatever the recipe names, the data is the pack.
        data = {"output_folder": scratch} | dict.fromkeys(
            ("clean_folder", "noise_folder"), options.pack
        )
        file, run_opts, overrides = parse_arguments([options.recipe, *others])
        recipe = Recipe.read(file, f"{overrides}\n{dump(data)}")
        session = Session(recipe, run_opts, Path(scratch, "earlier"), folder)
        hparams = session.hparams
        if hparams["crop_seconds"] is None:
            raise UserError(
                "crop_seconds is null; batches need one length: give "
                "--crop_seconds 4, for example."
            )
        recipe.write(scratch)
        description = read_description(Path(scratch) / DESCRIPTION)
        with ThreadPoolExecutor(1) as pool:
            decoding: Future = pool.submit(
                decode_pack, pack, hparams["sample_rate"]
            )
            session.load_data(
                make_noise(hparams["sample_rate"], hparams["crop_seconds"])
            )
            chosen = find_fastest(session, options, began)
            recordings = decoding.result()
        session.load_data(recordings)
        session.build(chosen.variant)
        restart(session.brain, session.initial)
        session.counter.current = log[-1]["batches"] if log else 0
        training = TimedTraining(
            session.brain,
            session.batches,
            chosen.variant,
            lambda state: write_snapshot(
                StoredModel(description, state, "the training"),
                folder,
                options.archive,
            ),
            folder,
            log=log,
        )
        training.train(began + options.time_limit - options.margin)
    if not training.steps:
        raise UserError(
            "No time was left for training after the table of "
            f"{folder / 'throughput.md'}; give a larger --time_limit, fewer "
            "--batches, or --modes eager."
        )
    logger.info(f"Written to {folder}.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (UserError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        print("Stopped; the folder has what was written last.", file=sys.stderr)
        sys.exit(130)
