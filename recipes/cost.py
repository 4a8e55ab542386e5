#!/usr/bin/env python3
"""Estimates what a training, or an archive, costs: time, storage, network.

    python recipes/cost.py training --hours 500 --gpus 8
    python recipes/cost.py archive --hours 1e6 --cores 1000

The figures behind it were measured with this project on the machines that
docs/scale.md names; replace them by those of yours, which recipes/benchmark.py
and the line of progress of phasen enhance show. Needs Python alone.
"""

import argparse
import sys
from dataclasses import dataclass

HOUR = 3600
#: Bytes of a second of audio at 16 kHz, mono. FLAC: mean of 507 files of
#: speech and noise.
BYTES = {"wav": 32000, "flac": 17000, "opus": 4000}
#: Seconds of audio that a GPU trains on in a second.
GPU_RATE = 940.0
#: Seconds of audio that a loader's process prepares in a second.
LOADER_RATE = 220.0
#: Seconds of a core for a second of audio.
CORE_TIME = 0.065
#: Two checkpoints: 8.77 M parameters, their average, and two moments of Adam.
CHECKPOINT_BYTES = 2 * 4 * 4 * 8.77e6


@dataclass(frozen=True)
class Cost:
    """What a job needs."""

    hours: float  #: of wall time
    device_hours: float  #: of GPUs or cores, all together
    storage: float  #: bytes
    loader_cores: float  #: beside the GPUs
    network: float  #: bytes a second, while it runs


def estimate_training(
    hours: float,
    epochs: float,
    gpus: int,
    rate: float = GPU_RATE,
    efficiency: float = 0.9,
    loader_rate: float = LOADER_RATE,
    noise_hours: float = 0.0,
    bytes_per_second: float = BYTES["flac"],
) -> Cost:
    """Estimates a training on GPUs.

    All GPUs together train on ``rate * gpus * efficiency`` seconds of audio in
    a second, where ``efficiency`` (1 for one GPU) is lost to their
    synchronisation; loaders must keep up with that. Each second of speech is
    mixed with one of noise, so two are read. Corpora and checkpoints are
    stored.

    Example
    -------
    >>> cost = estimate_training(94.0, 10, gpus=1)
    >>> cost.hours, round(cost.loader_cores, 2)
    (1.0, 4.27)
    """
    total = rate * gpus * (efficiency if gpus > 1 else 1.0)
    time = hours * epochs / total
    return Cost(
        hours=time,
        device_hours=time * gpus,
        storage=(hours + noise_hours) * HOUR * bytes_per_second
        + CHECKPOINT_BYTES,
        loader_cores=total / loader_rate,
        network=2 * total * bytes_per_second,
    )


def estimate_archive(
    hours: float,
    cores: int,
    core_time: float = CORE_TIME,
    efficiency: float = 0.95,
    bytes_per_second: float = BYTES["flac"],
) -> Cost:
    """Estimates the enhancement of an archive, one worker on each core.

    ``core_time`` is what a core takes for a second of audio, decoding and
    encoding included; on a GPU give what one takes, and their number as
    ``cores``. Input and output are stored, and go over the network once; an
    input is read twice, the second time from the node's memory.

    Example
    -------
    >>> cost = estimate_archive(1000.0, cores=1, efficiency=1.0)
    >>> cost.hours, cost.storage / 1e9
    (65.0, 122.4)
    """
    rate = cores * (efficiency if cores > 1 else 1.0) / core_time
    time = hours / rate
    return Cost(
        hours=time,
        device_hours=time * cores,
        storage=2 * hours * HOUR * bytes_per_second,
        loader_cores=0.0,
        network=2 * rate * bytes_per_second,
    )


def describe(cost: Cost, device: str, price: float | None = None) -> str:
    """Writes an estimate, a line for each kind of cost.

    Example
    -------
    >>> print(describe(Cost(50.0, 400.0, 2e12, 30.2, 5e8), "GPU", price=2.0))
    time            50.0 h (2.1 days)
    GPU hours       400 (800 at 2 each)
    loader cores    31
    storage         2.0 TB
    network         500 MB/s (4.0 Gbit/s) while it runs
    """
    spent = ""
    if price is not None:
        spent = f" ({cost.device_hours * price:,.0f} at {price:g} each)"
    lines = {
        "time": f"{cost.hours:.1f} h ({cost.hours / 24:.1f} days)",
        f"{device} hours": f"{cost.device_hours:,.0f}{spent}",
        "loader cores": f"{-(-cost.loader_cores // 1):.0f}",
        "storage": f"{cost.storage / 1e12:.1f} TB"
        if cost.storage >= 1e12
        else f"{cost.storage / 1e9:.0f} GB",
        "network": f"{cost.network / 1e6:,.0f} MB/s "
        f"({cost.network * 8 / 1e9:.1f} Gbit/s) while it runs",
    }
    if not cost.loader_cores:
        del lines["loader cores"]
    return "\n".join(f"{name:15} {text}" for name, text in lines.items())


def _positive(text: str, kind: type = float) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        whole = "whole " if kind is int else ""
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a {whole}number above 0"
        )
    return value


def _count(text: str) -> int:
    return _positive(text, int)


def main(arguments: list[str]) -> None:
    """Prints the estimate that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="job", required=True)
    training = commands.add_parser("training", help="on GPUs")
    archive = commands.add_parser("archive", help="phasen enhance on cores")

    def add(command, name, default, help, kind=_positive):
        shown = f"{help} (default: %(default)s)" if default else help
        command.add_argument(
            name, type=kind, default=default, required=not default, help=shown
        )

    add(training, "--hours", None, "of speech in the corpus")
    add(training, "--noise_hours", 50.0, "of noise in the corpus")
    add(training, "--epochs", 40.0, "how often each hour is heard")
    add(training, "--gpus", 8, "how many", _count)
    add(training, "--rate", GPU_RATE, "seconds of audio a GPU trains on in one")
    add(training, "--loader_rate", LOADER_RATE, "the same, of a loader's core")
    add(training, "--efficiency", 0.9, "what several GPUs gain, each")
    add(archive, "--hours", None, "of audio")
    add(archive, "--cores", 1000, "how many", _count)
    add(archive, "--core_time", CORE_TIME, "seconds for a second of audio")
    add(archive, "--efficiency", 0.95, "what several cores gain, each")
    for command in (training, archive):
        command.add_argument("--format", choices=BYTES, default="flac")
        command.add_argument(
            "--price", type=_positive, help="of an hour of a GPU or core"
        )
    options = vars(parser.parse_args(arguments))
    job, price = options.pop("job"), options.pop("price")
    options["bytes_per_second"] = BYTES[options.pop("format")]
    if job == "training":
        print(describe(estimate_training(**options), "GPU", price))
    else:
        print(describe(estimate_archive(**options), "core", price))


if __name__ == "__main__":
    main(sys.argv[1:])
