"""Scores by noise and SNR, which VoiceBank-DEMAND's log tells of each file.

Authors
 * The phasen_sb authors 2026
"""

import os
from pathlib import Path

from phasen_sb.errors import UserError
from phasen_sb.metrics.folders import FolderScores
from phasen_sb.metrics.report import MetricReport

#: What the columns behind the file's name are called in tables.
COLUMNS = ("noise", "SNR")


def read_conditions(path: str | os.PathLike) -> dict[str, dict[str, str]]:
    """Reads a ``log_testset.txt``: a file's name, its noise, its SNR (dB).

    Arguments
    ---------
    path : path
        Text file, a line for each file.

    Returns
    -------
    dict
        ``{file: {"noise": ..., "SNR": "7.5 dB"}}``

    Raises
    ------
    UserError
        If it cannot be read, or a line is of another form.

    Example
    -------
    >>> log = getfixture("tmp_path") / "log_testset.txt"
    >>> _ = log.write_text("p232_001 bus 17.5")
    >>> read_conditions(log)
    {'p232_001': {'noise': 'bus', 'SNR': '17.5 dB'}}
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); give a text file such as "
            "VoiceBank-DEMAND's log_testset.txt."
        ) from error
    conditions = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            name, noise, snr = words
            snr = f"{float(snr):g} dB"
        except ValueError as error:
            raise UserError(
                f"Line {number} of {path} is {line!r}; it must be a file's "
                "name, its noise and its SNR in dB."
            ) from error
        conditions[name] = dict(zip(COLUMNS, (noise, snr), strict=True))
    return conditions


def reports_by_condition(
    scores: FolderScores, conditions: dict[str, dict[str, str]]
) -> dict[str, dict[str, dict[str, MetricReport]]]:
    """Splits the scores of each system by condition.

    Arguments
    ---------
    scores : FolderScores
        What was scored.
    conditions : dict
        From :func:`read_conditions`.

    Returns
    -------
    dict
        ``{"noise": {"bus": {system: report}}, "SNR": ...}``, SNRs rising.

    Raises
    ------
    UserError
        If no file that was scored is in ``conditions``.
    """
    groups = {}
    for column in COLUMNS:
        by_value: dict[str, dict[str, MetricReport]] = {}
        for system in scores.systems:
            for key, values in system.report.scores.items():
                if key not in conditions:
                    continue
                reports = by_value.setdefault(conditions[key][column], {})
                empty = MetricReport(system.report.metrics, {})
                reports.setdefault(system.name, empty).scores[key] = values
        groups[column] = dict(sorted(by_value.items(), key=_order))
    if not groups[COLUMNS[0]]:
        raise UserError(
            "--conditions names none of the files that were scored; give the "
            "log of this test set."
        )
    return groups


def _order(item):
    number, _, unit = item[0].partition(" ")
    return (float(number), "") if unit == "dB" else (0.0, item[0])
