"""Enhances many files: finds them, names the outputs, survives errors."""

import glob
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import soundfile as sf
import torch
from tqdm import tqdm

from phasen_sb.audio.finding import AUDIO_SUFFIXES
from phasen_sb.audio.formats import FORMATS
from phasen_sb.errors import UserError
from phasen_sb.inference.enhancer import Enhancer
from phasen_sb.inference.outputs import EnhancedFile, name_output

ENHANCED = ".enhanced"


@dataclass
class JobReport:
    """Which of many files were enhanced, kept or failed.

    Arguments
    ---------
    done : list of EnhancedFile
        Enhanced now.
    kept : list of pathlib.Path
        Outputs that an earlier run had written.
    failed : dict
        From input to the sentence that says why.
    """

    done: list[EnhancedFile] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


def find_inputs(names: Iterable[str | os.PathLike]) -> list[tuple[Path, Path]]:
    """Finds the audio files that a user means.

    Arguments
    ---------
    names : iterable of path
        Files, folders (searched to the bottom) and patterns such as
        ``calls/*.wav``.

    Returns
    -------
    list of (pathlib.Path, pathlib.Path)
        Each file, and its path within the folder it was found in. What
        ``phasen enhance`` wrote beside its inputs is left out of folders and
        patterns.

    Raises
    ------
    UserError
        If a folder or pattern has no audio in it.
    """
    found = {}
    for name in map(str, names):
        path = Path(name).expanduser()
        if path.is_dir():
            inside = _audio_in(path)
            if not inside:
                raise UserError(
                    f"{path} has no audio files in it (WAV, FLAC, OGG, MP3, "
                    "AIFF, ...); check the path."
                )
            found |= {file: file.relative_to(path) for file in inside}
        elif path.exists() or not glob.has_magic(name):
            found[path] = Path(path.name)
        else:
            pattern = os.path.expanduser(name)
            matches = [
                file
                for file in map(Path, glob.glob(pattern, recursive=True))
                if file.is_file() and not file.stem.endswith(ENHANCED)
            ]
            if not matches:
                raise UserError(
                    f"No file matches {name}; check folder and pattern."
                )
            found |= {file: Path(file.name) for file in sorted(matches)}
    return list(found.items())


def names_one_file(names: Sequence[str | os.PathLike]) -> bool:
    """Tells a single file from what may have more, a folder or a pattern.

    Example
    -------
    >>> [names_one_file(n) for n in (["a.wav"], ["*.wav"], ["a.wav", "b.wav"])]
    [True, False, False]
    """
    if len(names) != 1:
        return False
    path = Path(names[0]).expanduser()
    if path.is_dir():
        return False
    return path.exists() or not glob.has_magic(str(names[0]))


def _audio_in(folder):
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith("."))
        for name in sorted(names):
            file = Path(parent, name)
            if (
                file.suffix.lower() in AUDIO_SUFFIXES
                and not file.stem.endswith(ENHANCED)
                and not name.startswith(".")
            ):
                files.append(file)
    return files


def name_outputs(
    inputs: Sequence[tuple[Path, Path]],
    output: str | os.PathLike | None = None,
    format: str | None = None,
) -> list[tuple[Path, Path]]:
    """Names one output for each input.

    Arguments
    ---------
    inputs : sequence
        From :func:`find_inputs`.
    output : path, optional
        With one input a file if it has an audio suffix; else the folder that
        outputs go to, under the inputs' names. By default each goes beside
        its input.
    format : str, optional
        Such as ``flac``; its name becomes the suffix.

    Returns
    -------
    list of (pathlib.Path, pathlib.Path)
        Input and output.

    Raises
    ------
    UserError
        If two inputs would go to one output.

    Example
    -------
    >>> name_outputs([(Path("in/a/x.mp3"), Path("a/x.mp3"))], "out", "flac")
    [(PosixPath('in/a/x.mp3'), PosixPath('out/a/x.flac'))]
    """
    pairs = []
    for source, relative in inputs:
        if output is None:
            target = name_output(source, None, format)
        elif len(inputs) == 1 and _is_file_name(output):
            target = Path(output).expanduser()
        else:
            target = Path(output).expanduser() / relative
            if format is not None:
                suffix = format.partition(":")[0].lower()
                target = target.with_suffix(f".{suffix}")
        pairs.append((source, target))
    sources = {}
    for source, target in pairs:
        other = sources.setdefault(target, source)
        if other != source:
            raise UserError(
                f"{other} and {source} would both be written to {target}; "
                "enhance them one after the other."
            )
    return pairs


def _is_file_name(output):
    path = Path(output)
    return path.suffix[1:].lower() in FORMATS and not path.is_dir()


def enhance_files(
    enhancer: Enhancer,
    pairs: Sequence[tuple[Path, Path]],
    jobs: int = 1,
    overwrite: bool = False,
    progress: bool | None = None,
    resume: bool = True,
    **options,
) -> JobReport:
    """Enhances files; one that fails does not stop the others.

    Arguments
    ---------
    enhancer : Enhancer
        Shared by all jobs.
    pairs : sequence of (path, path)
        Inputs and outputs.
    jobs : int
        Files at a time.
    overwrite : bool
        Replace outputs that exist.
    progress : bool, optional
        Show a bar; by default on a terminal.
    resume : bool
        Keep an output that exists and is no older than its input, unless
        ``overwrite``. Without it, an output that exists is an error.
    **options : dict
        Of :meth:`phasen_sb.Enhancer.enhance_file`.

    Returns
    -------
    JobReport
    """
    report = JobReport()
    waiting = []
    for source, target in pairs:
        if resume and not overwrite and _is_done(source, target):
            report.kept.append(target)
        else:
            waiting.append((source, target))
    stop = threading.Event()
    disable = None if progress is None else not progress
    with _Bar(sum(_seconds(source) for source, _ in waiting), disable) as bar:

        def advance(seconds):
            if stop.is_set():
                raise KeyboardInterrupt
            bar.advance(seconds)

        def work(pair):
            return enhancer.enhance_file(
                *pair, overwrite=overwrite, progress=advance, **options
            )

        for (source, _), outcome in _run(work, waiting, jobs, stop):
            if isinstance(outcome, UserError):
                report.failed[source] = str(outcome)
                if len(pairs) > 1:
                    bar.say(str(outcome))
            else:
                report.done.append(outcome)
                for line in [_summary(outcome), *outcome.notes()]:
                    bar.say(line)
    return report


def _run(work, pairs, jobs, stop):
    """Yields each pair with its result, or the error that a user can fix."""

    def attempt(pair):
        try:
            return work(pair)
        except UserError as error:
            return error

    if jobs == 1:
        for pair in pairs:
            yield pair, attempt(pair)
        return
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        jobs,
        initializer=torch.set_num_threads,
        initargs=(max(1, threads // jobs),),
    )
    try:
        futures = {pool.submit(attempt, pair): pair for pair in pairs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


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


def _is_done(source, target):
    return (
        target.is_file()
        and source.exists()
        and target.stat().st_mtime_ns >= source.stat().st_mtime_ns
    )


def _seconds(path):
    """Duration by the header, good enough for a progress bar."""
    if not path.is_file():
        return 0.0  # Opening a pipe blocks until somebody writes to it.
    try:
        return sf.info(path).duration
    except (sf.SoundFileError, TypeError):
        return 0.0
