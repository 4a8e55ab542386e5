"""Enhances many files; one that fails does not stop the others."""

import logging
import os
import stat
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch
from tqdm import tqdm

from phasen_sb.audio.reading import estimate_samples, open_audio
from phasen_sb.errors import UserError
from phasen_sb.inference.enhancer import FileEnhancer
from phasen_sb.inference.output_paths import name_residual
from phasen_sb.inference.reports import EnhancedFile
from phasen_sb.utils.torch_threads import thread_pool

logger = logging.getLogger(__name__)


@dataclass
class JobReport:
    """Which of many files were enhanced, kept or failed."""

    done: list[EnhancedFile] = field(default_factory=list)
    #: Outputs that an earlier run had written.
    kept: list[Path] = field(default_factory=list)
    #: The sentence that says why, by input.
    failed: dict[Path, str] = field(default_factory=dict)


def enhance_files(
    enhancer: FileEnhancer,
    pairs: Sequence[tuple[Path, Path]],
    jobs: int | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    resume: bool = True,
    **options,
) -> JobReport:
    """Enhances files; one that fails does not stop the others.

    ``pairs`` are inputs and outputs, ``jobs`` is how many files are enhanced at
    a time, by default one on a CPU and many on GPUs, longer ones first, and
    ``options`` are those of :meth:`phasen_sb.Enhancer.enhance_file`. An output
    that exists and is no older than its input is kept, unless ``overwrite``;
    without ``resume`` an output that exists is an error. By default a progress
    bar is shown on terminals only.
    """
    report = JobReport()
    waiting = []
    for source, target in pairs:
        done = is_done(source, target, options.get("residual", False))
        if resume and not overwrite and done:
            report.kept.append(target)
        else:
            waiting.append((source, target))
    seconds = {source: _seconds(source) for source, _ in waiting}
    jobs = min(jobs or enhancer.files_at_a_time, max(1, len(waiting)))
    if jobs > 1:  # files of similar length share batches
        waiting.sort(key=lambda pair: -seconds[pair[0]])
    stop = threading.Event()
    disable = None if progress is None else not progress
    total = sum(seconds[source] for source, _ in waiting)
    with _Bar(total, disable) as bar:

        def advance(seconds):
            if stop.is_set():
                raise KeyboardInterrupt
            bar.advance(seconds)

        def work(pair):
            return enhancer.enhance_file(
                *pair, overwrite=overwrite, progress=advance, **options
            )

        for (source, _), outcome in _run(work, waiting, jobs, stop):
            if isinstance(outcome, Exception):
                report.failed[source] = explain_failure(source, outcome)
                if len(pairs) > 1:
                    bar.say(report.failed[source])
            else:
                report.done.append(outcome)
                for line in [_summary(outcome), *outcome.notes()]:
                    bar.say(line)
    return report


def _run(work, pairs, jobs, stop):
    """Yields each pair with its result or its error."""

    def attempt(pair):
        try:
            return work(pair)
        except Exception as error:  # ends this file, not the others
            return error

    if jobs == 1:
        for pair in pairs:
            yield pair, attempt(pair)
        return
    with thread_pool(jobs, max(1, torch.get_num_threads() // jobs)) as pool:
        try:
            futures = {pool.submit(attempt, pair): pair for pair in pairs}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            stop.set()


class _Bar:
    """Progress in seconds of audio, with the real-time factor."""

    def __init__(self, seconds, disable):
        self._bar = tqdm(
            total=round(seconds, 1),
            unit="s",
            disable=disable,
            file=sys.stderr,
            bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio "
            "[{elapsed}<{remaining}{postfix}]",
        )
        self._started = perf_counter()
        self._lock = threading.Lock()

    def advance(self, seconds):
        with self._lock:
            self._bar.update(seconds)
            if self._bar.n:
                factor = (perf_counter() - self._started) / self._bar.n
                self._bar.set_postfix_str(
                    f"real-time factor {factor:.2f}", refresh=False
                )

    def say(self, line):
        self._bar.write(line, file=sys.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()


def _summary(result):
    factor = result.elapsed / max(result.seconds, 1e-9)
    return (
        f"{result.source} -> {result.target} ({result.seconds:.1f} s of audio "
        f"in {result.elapsed:.1f} s, real-time factor {factor:.2f})"
    )


def explain_failure(source: Path, error: Exception) -> str:
    """Says in a sentence why a file could not be enhanced."""
    if isinstance(error, UserError):
        return str(error)
    logger.debug(f"{source} failed", exc_info=error)
    return f"{source} cannot be enhanced: {type(error).__name__}: {error}"


def is_done(source: Path, target: Path, residual: bool = False) -> bool:
    """Tells whether an earlier run enhanced a file as it is now.

    With ``residual`` that of what was removed must be there, too.
    """
    if residual and not is_done(source, name_residual(target)):
        return False
    try:
        there, needed = target.stat(), source.stat()
    except OSError:
        return False
    return (
        stat.S_ISREG(there.st_mode)
        and there.st_mtime_ns >= needed.st_mtime_ns
        and not os.path.samestat(there, needed)
    )


def _seconds(path):
    """Duration, good enough for a progress bar."""
    if not path.is_file():
        return 0.0  # Opening a pipe blocks until somebody writes to it.
    try:
        with open_audio(path) as file:
            return estimate_samples(file) / file.samplerate
    except Exception:  # is reported when the file is enhanced
        return 0.0
