"""Writes what a run found: scores, and audio to listen to.

Every file appears whole or not at all.
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
    """Means, number of utterances and failures, ready for JSON."""
    return report.mean() | {
        "utterances": len(report.scores),
        "failures": report.failure_counts(),
    }


def beside(report: MetricReport, noisy: MetricReport | None) -> dict:
    """Mean scores, each followed by the noisy input's.

    Example
    -------
    >>> ours = MetricReport(("stoi",), {"a": {"stoi": 0.9}})
    >>> beside(ours, MetricReport(("stoi",), {"a": {"stoi": 0.8}}))
    {'stoi': 0.9, 'noisy_stoi': 0.8}
    """
    stats = {}
    for name, value in report.mean().items():
        stats[name] = math.nan if value is None else value
        if noisy is not None and noisy.mean().get(name) is not None:
            stats[f"noisy_{name}"] = noisy.mean()[name]
    return stats


def write_scores(
    path: Path, noisy: MetricReport, enhanced: MetricReport
) -> None:
    """Writes one CSV line for each utterance; a failed score stays empty.

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
    failures = {}
    for failure in enhanced.failures:
        reason = f"{failure['metric']}: {failure['reason']}"
        failures.setdefault(failure["key"], []).append(reason)

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
        writer.writerow([*row, "; ".join(failures.get(key, []))])
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
        For each utterance's key its samples, ``[time]``.
    sample_rate : int
        Of all samples (Hz).
    """
    for key, wave in waves.items():
        file = io.BytesIO()
        soundfile.write(file, wave, sample_rate, "FLOAT", format="WAV")
        write_atomically(folder / f"{key}.wav", file.getvalue())
