"""Finds the fastest way to train on the machine at hand."""

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from phasen_sb.utils.tables import format_markdown_table

#: A variant is timed for as long (s), after the steps that warm it up.
TIMED = 1.5
WARM_UP = 3


class Variant(NamedTuple):
    """A way to train."""

    batch: int  #: utterances in a step
    mode: str  #: ``eager``, or a mode of :func:`torch.compile`
    precision: str  #: ``fp32`` or ``bf16``


class Trial(NamedTuple):
    """What became of a variant."""

    variant: Variant
    speed: float | None = None  #: seconds of audio in a second
    memory: float | None = None  #: greatest that PyTorch allocated (MB)
    start: float | None = None  #: seconds until the first steps were made
    problem: str = ""  #: why it failed, or was not tried


class TooLong(BaseException):
    """Not an ``Exception``, which a compiler might catch and go on."""


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raises :class:`TooLong` in a block that takes longer.

    Does nothing on Windows, and in other threads than the main one.

    Example
    -------
    >>> with limit_time(60):
    ...     pass
    """
    able = hasattr(signal, "setitimer")
    if not able or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def try_variants(
    variants: Iterable[Variant],
    prepare: Callable[[Variant], Callable[[], None]],
    audio_seconds: float,
    until: float,
    synchronize: Callable[[], None] = lambda: None,
) -> Iterator[Trial]:
    """Measures variants one after another; one that fails is a line, too.

    Arguments
    ---------
    variants : iterable of Variant
        What to try. It may be a generator that looks at earlier trials.
    prepare : callable
        Maps a variant to a function that makes one step.
    audio_seconds : float
        Of each utterance.
    until : float
        Time (:func:`time.monotonic`) at which a trial is given up.
    synchronize : callable
        Waits for the device.

    Example
    -------
    >>> ways = [Variant(4, "eager", "fp32"), Variant(0, "eager", "fp32")]
    >>> def prepare(variant):
    ...     return lambda: time.sleep(0.01 / variant.batch)
    >>> good, bad = try_variants(ways, prepare, 2.0, time.monotonic() + 60)
    >>> good.speed > 100, bad.problem
    (True, 'ZeroDivisionError: float division by zero')
    """
    for variant in variants:
        left = until - time.monotonic()
        if left <= 0:
            yield Trial(variant, problem="not tried: the time is over")
            continue
        try:
            with limit_time(left):
                yield _measure(variant, prepare, audio_seconds, synchronize)
        except TooLong:
            yield Trial(variant, problem=f"took longer than {left:.0f} s")
        except Exception as error:  # whatever a compiler or a GPU raises
            lines = str(error).strip().splitlines() or ["no reason given"]
            problem = f"{type(error).__name__}: {lines[0]}"
            yield Trial(variant, problem=problem)


def _measure(variant, prepare, audio_seconds, synchronize):
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    free_memory()
    began = time.monotonic()
    step = prepare(variant)
    for _ in range(WARM_UP):
        step()
    synchronize()
    started = time.monotonic()
    count, now = 0, started
    while now < started + TIMED or count < 2:
        step()
        count += 1
        if not on_gpu or count % 4 == 0:
            synchronize()
        now = time.monotonic()
    synchronize()
    taken = time.monotonic() - started
    return Trial(
        variant,
        count * variant.batch * audio_seconds / taken,
        torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
        started - began,
    )


def free_memory() -> None:
    """Gives what earlier variants used back to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def choose_fastest(trials: Iterable[Trial]) -> Trial | None:
    """Chooses the fastest; None if none worked.

    Of those that are within 3 % of it, the one of the smallest batch, which
    makes most steps.
    """
    worked = [trial for trial in trials if trial.speed is not None]
    if not worked:
        return None
    enough = 0.97 * max(trial.speed for trial in worked)
    return min(
        (trial for trial in worked if trial.speed >= enough),
        key=lambda trial: (trial.variant.batch, -trial.speed),
    )


def tabulate_trials(trials: Iterable[Trial]) -> str:
    """Writes the trials as a Markdown table."""
    header = ["batch", "mode", "precision", "s of audio/s", "MB", "start (s)"]
    rows = [
        (
            *map(str, trial.variant),
            *(
                "-" if value is None else f"{value:.0f}"
                for value in (trial.speed, trial.memory, trial.start)
            ),
            trial.problem,
        )
        for trial in trials
    ]
    align = ["right", "left", "left", "right", "right", "right", "left"]
    return format_markdown_table([*header, "problem"], rows, align) + "\n"
