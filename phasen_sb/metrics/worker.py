"""The process in which :mod:`phasen_sb.metrics.pool` computes measures.

It reads pickled pairs of signals from its standard input and writes pickled
scores to its standard output, until its input ends.
"""

import faulthandler
import os
import pickle
import sys

import numpy as np

from phasen_sb.metrics.checks import MetricError
from phasen_sb.metrics.registry import evaluate


def serve(metrics: list[str], sample_rate: int, timeout: float) -> None:
    """Answers each pair of signals with its scores, one by one, and None.

    The process ends itself if a pair takes longer than ``timeout`` seconds.
    """
    tasks = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # A library that prints must not write into the stream of answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(message) -> None:
        pickle.dump(message, answers)
        answers.flush()

    with open(os.devnull, "w") as nowhere:
        # Imports and compilers take seconds; no pair should pay for them.
        noise = np.random.default_rng(0).normal(size=sample_rate)
        for _ in evaluate(noise, noise, sample_rate, metrics):
            pass
        answer("ready")
        while True:
            clean, estimate = pickle.load(tasks)
            # This watchdog needs neither the interpreter's lock nor a living
            # parent, so it also ends a hang in C code and leaves no orphan.
            faulthandler.dump_traceback_later(timeout, exit=True, file=nowhere)
            for name, result in evaluate(clean, estimate, sample_rate, metrics):
                if isinstance(result, MetricError):
                    result = (result.reason, result.detail)
                answer((name, result))
            faulthandler.cancel_dump_traceback_later()
            answer(None)


def main(metrics: list[str], sample_rate: int, timeout: float) -> None:
    """Serves until the parent closes the connection or is gone."""
    try:
        serve(metrics, sample_rate, timeout)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):
        os._exit(0)
