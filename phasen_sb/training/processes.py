"""Shares work among the processes of a distributed run.

Every function also works in a run of one process, where it changes nothing.
"""

import os
import signal
from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist

from phasen_sb.metrics.metric_report import MetricReport

LOST = (
    "Another process of this run has ended, or the run was cancelled; the same "
    "command goes on from the last checkpoint."
)


def is_lost_process(error: Exception) -> bool:
    """Tells whether an error means that another process has ended.

    Example
    -------
    >>> is_lost_process(RuntimeError("[gloo] Connection closed by peer"))
    True
    """
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def explain_termination() -> None:
    """Lets this process say why ``torchrun`` ends it: another has ended."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    main = os.getpid()

    def end(number, frame):
        if os.getpid() == main:  # not a worker of a loader
            os.write(2, f"Error: {LOST}\n".encode())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def shard() -> slice:
    """Selects the part of a sequence that this process works on."""
    return slice(rank(), None, world_size())


def broadcast(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrites the tensors of all processes with those of the first."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def _gather(part):
    """Lists what each process has, on all of them."""
    parts = [part]
    if world_size() > 1:
        parts = [None] * world_size()
        dist.all_gather_object(parts, part)
    return parts


def add_up(counts: Mapping[str, int]) -> dict[str, int]:
    """Adds up the counts of all processes, by name."""
    parts = _gather(counts)
    return {name: sum(part[name] for part in parts) for name in counts}


def gather_report(
    loss: float, report: MetricReport
) -> tuple[float, MetricReport]:
    """Joins what all processes found on their shards.

    Takes the mean loss and the scores of this process's utterances; returns
    those of all, sorted by key, the same on every process.
    """
    parts = _gather((loss, report.scores, report.failures))
    count = sum(len(scores) for _, scores, _ in parts)
    total = sum(loss * len(scores) for loss, scores, _ in parts if scores)
    scores = {key: value for part in parts for key, value in part[1].items()}
    failures = [failure for part in parts for failure in part[2]]
    merged = MetricReport(
        report.metrics,
        dict(sorted(scores.items())),
        sorted(failures, key=lambda failure: failure["key"]),
    )
    return total / max(count, 1), merged


def gather_mapping(mapping: Mapping) -> dict:
    """Joins the mappings of all processes on the first; {} on the others."""
    parts = [mapping]
    if world_size() > 1:
        main = rank() == 0
        parts = [None] * world_size() if main else None
        dist.gather_object(mapping, parts, dst=0)
    merged = {}
    for part in parts or []:
        merged.update(part)
    return dict(sorted(merged.items()))
