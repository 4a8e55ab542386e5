"""Summarises and writes what a run found: scores, and audio to listen to.

Files are written in full or not at all.
"""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

from phasen_sb.metrics.metric_report import MetricReport
from phasen_sb.utils.files import write_atomically


def summarise(report: MetricReport) -> dict:
    """Computes means and counts utterances and failures, ready for JSON.

    Example
    -------
    >>> summarise(MetricReport(("stoi",), {"a": {"stoi": 0.9}}))
    {'stoi': 0.9, 'utterances': 1, 'failures': {}}
    """
    return report.mean() | {
        "utterances": len(report.scores),
        "failures": report.failure_counts(),
    }


def join_means(
    report: MetricReport, noisy: MetricReport | None
) -> dict[str, float]:
    """Lists mean scores, each followed by that of the noisy input.

    Example
    -------
    >>> ours = MetricReport(("stoi",), {"a": {"stoi": 0.9}})
    >>> join_means(ours, MetricReport(("stoi",), {"a": {"stoi": 0.8}}))
    {'stoi': 0.9, 'noisy_stoi': 0.8}
    """
    before = {} if noisy is None else noisy.mean()
    stats = {}
    for name, value in report.mean().items():
        stats[name] = math.nan if value is None else value
        if before.get(name) is not None:
            stats[f"noisy_{name}"] = before[name]
    return stats


def write_scores(
    path: Path, noisy: MetricReport, enhanced: MetricReport
) -> None:
    """Writes a CSV line for each utterance; a failed score stays empty.

    Arguments
    ---------
    path : pathlib.Path
        CSV to write.
    noisy : MetricReport
        Scores of the noisy input.
    enhanced : MetricReport
        Scores of the same utterances, enhanced; its failures are written.
    """
    names = enhanced.metrics
    failures = enhanced.failures_by_key()
    text = io.StringIO()
    writer = csv.writer(text)
    header = ["id"]
    for name in names:
        header += [f"noisy_{name}", f"enhanced_{name}"]
    writer.writerow([*header, "failures"])
    for key in sorted(enhanced.scores):
        row = [key]
        for name in names:
            for report in (noisy, enhanced):
                value = report.scores.get(key, {}).get(name)
                row.append("" if value is None else f"{value:.4f}")
        writer.writerow([*row, failures.get(key, "")])
    write_atomically(path, text.getvalue())


def write_audio(
    folder: Path, waves: Mapping[str, np.ndarray], sample_rate: int
) -> None:
    """Writes waveforms as 32-bit float WAV, which never clips.

    Arguments
    ---------
    folder : pathlib.Path
        Receives ``{key}.wav``.
    waves : dict
        Utterance -> samples, ``[time]``.
    sample_rate : int
        Sample rate (Hz).
    """
    for key, wave in waves.items():
        file = io.BytesIO()
        soundfile.write(file, wave, sample_rate, "FLOAT", format="WAV")
        write_atomically(folder / f"{key}.wav", file.getvalue())
