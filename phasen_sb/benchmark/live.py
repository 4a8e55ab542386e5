"""Measures live speech: how long each block takes, on one thread.

    python -m phasen_sb.benchmark.live
    python -m phasen_sb.benchmark.live --hparams my_live.yaml --seconds 60

Blocks are of one hop, and each must be ready before the next one comes. RTF is
time per time of audio; the rest are percentiles of the blocks' times, by the
clock and in processor time, which other programs disturb less.
"""

import argparse
import sys
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
import torch

from phasen_sb.benchmark.workloads import build
from phasen_sb.errors import UserError
from phasen_sb.inference.frame_engines import ENGINES
from phasen_sb.inference.streaming import StreamingEnhancer
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.utils.tables import format_markdown_table

#: Blocks before those that are measured.
WARM_UP = 10
PERCENTILES = (50, 95, 99, 100)


class BlockTimes(NamedTuple):
    """The times of a stream's blocks (s)."""

    block: float  #: how long a block lasts
    clock: np.ndarray  #: what each block took
    processor: np.ndarray  #: the same in processor time


def measure_blocks(
    model: PhasenEnhancer, engine: str, seconds: float
) -> BlockTimes:
    """Measures how long blocks of a hop take.

    Arguments
    ---------
    model : PhasenEnhancer
        A causal model.
    engine : str
        As of :class:`phasen_sb.StreamingEnhancer`.
    seconds : float
        Of audio.

    Returns
    -------
    BlockTimes

    Raises
    ------
    phasen_sb.errors.UserError
        If the engine is not installed, or the model not causal.
    """
    hop, rate = model.stft.hop_length, model.stft.sample_rate
    stream = StreamingEnhancer(model, hop, engine)
    count = max(1, round(seconds * rate / hop))
    blocks = np.random.default_rng(0).standard_normal((WARM_UP + count, hop))
    times = []
    for block in 0.1 * blocks.astype(np.float32):
        started = perf_counter(), process_time()
        stream.process(block)
        times.append((perf_counter(), process_time()) - np.array(started))
    clock, processor = np.array(times[WARM_UP:]).T
    return BlockTimes(hop / rate, clock, processor)


def main(arguments: list[str] | None = None) -> None:
    """Prints a table with a row for each engine."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--hparams", default="hparams/phasen_live.yaml")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=list(ENGINES)
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = build(options.hparams, "plain", None)
    rows = []
    for engine in options.engines:
        found = measure_blocks(model, engine, options.seconds)
        for name in ("clock", "processor"):
            times = getattr(found, name)
            percentiles = np.percentile(1000 * times, PERCENTILES)
            rows.append(
                [
                    *(engine, name, f"{times.mean() / found.block:.3f}"),
                    *(f"{value:.1f}" for value in percentiles),
                ]
            )
    header = ["engine", "time", "RTF", "median", "95 %", "99 %", "worst (ms)"]
    align = ["left"] * 2 + ["right"] * (len(header) - 2)
    print(format_markdown_table(header, rows, align))
    print(f"A block lasts {1000 * found.block:g} ms.")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"Error: {error}")
