"""Finds training runs, and reads what they left, finished or not."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from phasen_sb.errors import UserError
from phasen_sb.metrics.registry import METRICS
from phasen_sb.training.pictures import read_curves
from phasen_sb.utils.file_names import (
    CHECKPOINTS,
    LOG,
    RESULTS,
    SETTINGS,
    TRAIN_LOG,
    WEIGHTS,
)
from phasen_sb.utils.files import read_json

FINISHED, UNFINISHED, BROKEN = "finished", "unfinished", "broken"
#: SpeechBrain's log says this where a process starts or resumes a run.
START = "Beginning experiment!"

Curves = dict[str, list[tuple[int, float]]]


@dataclass
class TrainingRun:
    """What the output folder of a training holds."""

    name: str  #: its path within the folder that was searched
    state: str = UNFINISHED  #: or ``FINISHED`` or ``BROKEN``
    reason: str = ""  #: what is broken
    #: From ``settings.json``.
    settings: dict = field(default_factory=dict)
    #: Mean test scores, enhanced and before enhancement.
    scores: dict[str, float] = field(default_factory=dict)
    noisy: dict[str, float] = field(default_factory=dict)
    #: Statistics by epoch, see
    #: :func:`phasen_sb.training.pictures.read_curves`.
    curves: Curves = field(default_factory=dict)
    chosen_epoch: int | None = None  #: the one whose weights were tested
    steps: int | None = None  #: of the optimizer
    parameters: int | None = None
    hours: float | None = None  #: of wall time, pauses between starts apart
    ended: datetime | None = None  #: when it last wrote into its log
    hardware: str = ""

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        ends = [curve[-1][0] for curve in self.curves.values() if curve]
        return max(ends, default=0)


def find_runs(folder: Path) -> list[TrainingRun]:
    """Reads all training runs in a folder, at any depth, sorted by name.

    Exported models, checkpoints and hidden folders are not searched. Raises a
    :class:`phasen_sb.errors.UserError` if there is no run.
    """
    runs = []
    for path, folders, files in os.walk(folder):
        here = Path(path)
        found = _is_run(here, files)
        skipped = {CHECKPOINTS, "enhanced"} if found else set()
        folders[:] = sorted(
            name
            for name in folders
            if name not in skipped and not name.startswith(".")
        )
        if found:
            name = here.relative_to(folder).as_posix()
            runs.append(read_run(here, folder.name if name == "." else name))
    if not runs:
        raise UserError(
            f"{folder} has no training runs in it; give the folder, such as "
            "results, in which recipes/train.py made its output folders."
        )
    return runs


def _is_run(folder, files):
    if WEIGHTS in files:
        return False
    return (
        RESULTS in files
        or TRAIN_LOG in files
        or (folder / CHECKPOINTS / SETTINGS).is_file()
    )


def read_run(folder: Path, name: str) -> TrainingRun:
    """Reads a run; what is damaged makes it a broken one, and is no error."""
    run = TrainingRun(name)
    log = _read_text(folder / TRAIN_LOG)
    run.curves = read_curves(log)
    run.hours, run.ended = measure_time(_read_text(folder / LOG))
    problems = []
    record = folder / CHECKPOINTS / SETTINGS
    if record.exists():
        try:
            run.settings = _read_mapping(record)
        except UserError as error:
            problems.append(str(error))
    if (folder / RESULTS).exists():
        try:
            _take_results(run, folder / RESULTS)
            if not _is_resumed(log):
                run.state = FINISHED
        except UserError as error:
            problems.append(str(error))
    if problems:
        run.state, run.reason = BROKEN, " ".join(problems)
    return run


def _take_results(run, path):
    results = _read_mapping(path)
    try:
        test = results["test"]
        run.scores, run.noisy = (
            {
                metric: float(test[kind][metric])
                for metric in METRICS
                if test[kind].get(metric) is not None
            }
            for kind in ("enhanced", "noisy")
        )
        run.chosen_epoch = results.get("epoch")
        run.steps = results.get("optimizer_steps")
        run.parameters = results.get("parameters")
        device = results.get("hardware") or results.get("device")
        told = filter(None, (device, results.get("precision")))
        processes = run.settings.get("processes", 1)
        run.hardware = f"{processes} x " * (processes > 1) + ", ".join(told)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path} is not what a training writes ({type(error).__name__}: "
            f"{error})."
        ) from error


def _read_mapping(path):
    content = read_json(path, "train again, or delete the run")
    if not isinstance(content, dict):
        raise UserError(f"{path} is not what a training writes.")
    return content


def _read_text(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _is_resumed(train_log):
    """Tells whether epochs follow the last test."""
    lines = [
        line for line in train_log.splitlines() if line.startswith("epoch")
    ]
    return bool(lines) and not lines[-1].startswith("epoch loaded")


def measure_time(log: str) -> tuple[float | None, datetime | None]:
    """Measures hours of work and the last sign of life, from ``log.txt``.

    What passed between the last line of one start and the next start does not
    count. Both are None if the log has no times.

    Example
    -------
    >>> measure_time('''2026-11-27 22:00:00,000 - core - INFO - Beginning exp
    ... 2026-11-27 23:30:00,000 - core - INFO - Beginning experiment!
    ... 2026-11-28 00:30:00,000 - speechbrain - INFO - done''')
    (1.0, datetime.datetime(2026, 11, 28, 0, 30))
    """
    sessions: list[list[datetime]] = []
    for line in log.splitlines():
        found = re.match(
            r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} - (\S+)", line
        )
        # These precede the start that they belong to.
        if not found or found[2] == "speechbrain.utils.quirks":
            continue
        time = datetime.fromisoformat(found[1])
        if not sessions or line.endswith(START):
            sessions.append([time, time])
        sessions[-1][1] = time
    if not sessions:
        return None, None
    seconds = sum((end - start).total_seconds() for start, end in sessions)
    return seconds / 3600, sessions[-1][1]
