"""What a worker of a cluster does: loads the model, enhances file by file."""

import socket
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from phasen_sb.archives.file_measures import try_to_measure
from phasen_sb.archives.jobs import explain_failure, is_done
from phasen_sb.archives.outcomes import ENHANCED, FAILED, KEPT, Outcome
from phasen_sb.errors import UserError
from phasen_sb.inference.enhancer import FileEnhancer


class FileWorker:
    """Enhances files one after another, in a process of its own.

    Arguments
    ---------
    loading : mapping
        Arguments of :meth:`phasen_sb.Enhancer.from_pretrained`.
    options : mapping
        Those of :meth:`phasen_sb.Enhancer.enhance_file`.
    measures : bool
        Whether to measure the input files, too.

    Example
    -------
    >>> worker = FileWorker({"device": "cpu"}, {}, measures=False)
    >>> worker.load()
    >>> worker.enhance("no.wav", "out.wav").reason
    'There is no file no.wav; check the path.'
    """

    def __init__(
        self, loading: Mapping[str, Any], options: Mapping, measures: bool
    ):
        self._loading, self._options = loading, options
        self._measures = measures
        self._enhancer = None

    def load(self) -> str | None:
        """Loads the model; returns a sentence if that is not possible."""
        try:
            self._enhancer = FileEnhancer.from_pretrained(**self._loading)
        except UserError as error:
            return f"On {socket.gethostname()}: {error}"
        return None

    def enhance(self, source: str, target: str, again: bool = False) -> Outcome:
        """Enhances a file; an error becomes the outcome's ``reason``.

        An output that an earlier run completed is kept, unless the options
        have ``overwrite``. ``again`` says that a worker died over this file in
        this run, so that what is newer than the input is its work.
        """
        started = perf_counter()
        path, output = Path(source), Path(target)
        options = dict(self._options)
        status, reason, seconds = KEPT, "", 0.0
        try:
            residual = options.get("residual", False)
            if options.get("overwrite") or not is_done(path, output, residual):
                options["overwrite"] = options.get("overwrite") or (
                    again and is_done(path, output)
                )
                done = self._enhancer.enhance_file(path, output, **options)
                status, seconds = ENHANCED, done.seconds
        except Exception as error:  # ends this file, not the others
            return Outcome(path, output, FAILED, explain_failure(path, error))
        elapsed = perf_counter() - started
        measures = {}
        if self._measures:
            measures, reason = try_to_measure(path)
        return Outcome(path, output, status, reason, seconds, elapsed, measures)
