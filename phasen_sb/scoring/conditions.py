"""Scores by noise and SNR, which VoiceBank-DEMAND lists for each file."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from phasen_sb.audio.finding import AUDIO_SUFFIXES
from phasen_sb.errors import UserError
from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.scoring.systems import FolderScores

#: What tables call the columns that follow the file's name.
COLUMNS = ("noise", "SNR")


def read_conditions(path: str | os.PathLike) -> dict[str, dict[str, str]]:
    """Reads a ``log_testset.txt``: a file's name, its noise, its SNR (dB).

    The name may have a suffix such as ``.wav``. Returns ``{file: {"noise":
    "bus", "SNR": "7.5 dB"}}``. Raises UserError if the file cannot be read or
    a line is of another form.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); give a text file such as "
            "VoiceBank-DEMAND's log_testset.txt."
        ) from error
    conditions = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, noise, snr = line.strip().rsplit(maxsplit=2)
            snr = f"{float(snr):g} dB"
        except ValueError as error:
            raise UserError(
                f"Line {number} of {path} is {line!r}; it must be a file's "
                "name, its noise and its SNR in dB."
            ) from error
        if Path(name).suffix.lower() in AUDIO_SUFFIXES:
            name = str(Path(name).with_suffix(""))
        name = unicodedata.normalize("NFC", name)
        conditions[name] = dict(zip(COLUMNS, (noise, snr), strict=True))
    return conditions


def check_names(
    conditions: dict[str, dict[str, str]], names: Iterable[str], folder: str
) -> str | None:
    """Checks, before any work, that the conditions are those of the files.

    The names are those of the clean files, without suffix. Returns a note on
    those that have no conditions, None where all have them; raises UserError if
    none has. ``folder`` is what the error calls the clean folder.

    Example
    -------
    >>> check_names({"a": {}}, ["a", "b"], "clean")
    '--conditions says nothing of 1 file (such as b).'
    """
    unknown = [name for name in names if name not in conditions]
    if not conditions.keys() & set(names):
        raise UserError(
            f"--conditions names none of the files of {folder}; give the log "
            "of this test set."
        )
    if not unknown:
        return None
    files = "1 file" if len(unknown) == 1 else f"{len(unknown)} files"
    return f"--conditions says nothing of {files} (such as {min(unknown)})."


def split_by_condition(
    scores: FolderScores, conditions: dict[str, dict[str, str]]
) -> dict[str, dict[str, dict[str, MetricReport]]]:
    """Splits the scores of each system by condition.

    Returns ``{"noise": {"bus": {system: report}}, "SNR": ...}``, SNRs rising.
    Files without conditions are left out.
    """
    groups = {}
    for column in COLUMNS:
        by_value: dict[str, dict[str, MetricReport]] = {}
        for system in scores.systems:
            for key, values in system.report.scores.items():
                if key not in conditions:
                    continue
                reports = by_value.setdefault(conditions[key][column], {})
                empty = MetricReport(system.report.metrics)
                report = reports.setdefault(system.name, empty)
                report.scores[key] = values
                report.failures += [
                    f for f in system.report.failures if f["key"] == key
                ]
        groups[column] = dict(sorted(by_value.items(), key=_sort_key))
    return groups


def _sort_key(item):
    number, _, unit = item[0].partition(" ")
    return (float(number), "") if unit == "dB" else (0.0, item[0])
