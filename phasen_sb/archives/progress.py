"""Progress of many files, in one line."""

import sys
from functools import partial
from time import perf_counter

from tqdm import tqdm

from phasen_sb.archives.outcomes import ENHANCED, FAILED, KEPT, Outcome

#: Seconds from line to line where no terminal can rewrite one.
LOG_INTERVAL = 60
#: Reasons that are kept; further failures are only counted.
LISTED = 100


class FileProgress:
    """Counts outcomes, and shows how far the work is and how long it takes.

    That is one line that is rewritten on a terminal, and a line a minute
    elsewhere: files, hours of audio enhanced, real-time factor (seconds of
    work for a second of audio, of all workers together), failures, time so
    far and time that remains, at the present pace. A context manager.

    Arguments
    ---------
    files : int
        How many there are.
    stream : text stream
        Where to write; by default ``sys.stderr``.

    Example
    -------
    >>> outcome = Outcome("a.wav", "out/a.wav", ENHANCED, seconds=7200.0)
    >>> with FileProgress(2, sys.stdout) as progress:  # doctest: +ELLIPSIS
    ...     progress.add(outcome)
    0/2 files...
    1/2 files, 2.0 h, real-time factor 0.000, 0 failed [00:00<...]
    """

    def __init__(self, files: int, stream=None):
        stream = stream or sys.stderr
        self.counts = dict.fromkeys((ENHANCED, KEPT, FAILED), 0)
        #: The sentence that says why, of the first files that failed.
        self.reasons: list[str] = []
        self._seconds = 0.0
        self._started = perf_counter()
        on_terminal = stream.isatty()
        self._say = partial(print, file=stream, flush=True)
        if on_terminal:
            self._say = partial(tqdm.write, file=stream)
        self._bar = tqdm(
            total=files,
            file=stream if on_terminal else _Lines(stream),
            mininterval=0.5 if on_terminal else LOG_INTERVAL,
            maxinterval=LOG_INTERVAL,
            miniters=1,
            smoothing=0.05,
            dynamic_ncols=on_terminal,
            bar_format="{n_fmt}/{total_fmt} files{postfix} "
            "[{elapsed}<{remaining}]",
        )

    def add(self, outcome: Outcome) -> None:
        """Counts an outcome, and says why it failed if it did."""
        self.counts[outcome.status] += 1
        self._seconds += outcome.seconds
        if outcome.status == FAILED and len(self.reasons) < LISTED:
            self.reasons.append(outcome.reason)
        if outcome.reason:
            self._say(outcome.reason)
        self._bar.set_postfix_str(
            f"{self._seconds / 3600:.1f} h, real-time factor "
            f"{self.real_time_factor:.3f}, {self.counts[FAILED]} failed",
            refresh=False,
        )
        self._bar.update()

    @property
    def real_time_factor(self) -> float:
        """Seconds that passed for each second of audio that was enhanced."""
        elapsed = perf_counter() - self._started
        return elapsed / self._seconds if self._seconds else float("nan")

    def __enter__(self) -> "FileProgress":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()


class _Lines:
    """Makes a line of what tqdm would write over the line before."""

    def __init__(self, stream):
        self._stream = stream
        self._last = ""

    def write(self, text):
        text = text.strip("\r\n ")
        if text and text != self._last:
            self._stream.write(f"{text}\n")
            self._last = text

    def flush(self):
        self._stream.flush()
