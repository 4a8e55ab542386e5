"""Writes what a run found: scores, audio to listen to, a picture to look at.

Every file appears whole or not at all.

Authors
 * The phasen_sb authors 2026
"""

import csv
import io
import logging
import math
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import soundfile

from phasen_sb.data.files import write_atomically
from phasen_sb.metrics.report import MetricReport

PACKAGES = (
    "phasen_sb",
    "speechbrain",
    "torch",
    "torchaudio",
    "pesq",
    "pystoi",
    "numpy",
)


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


def provenance() -> dict:
    """What a reader needs to trust a number: versions, command, commit."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "commit": _commit(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _commit():
    if shutil.which("git") is None:
        return None
    here = Path(__file__)

    def git(*arguments):
        return subprocess.run(
            ["git", *arguments],
            cwd=here.parent,
            capture_output=True,
            text=True,
            check=False,
        )

    # An environment may lie within somebody else's repository.
    if git("ls-files", "--error-unmatch", here.name).returncode != 0:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip()


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


def draw_spectrograms(
    path: Path,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    sample_rate: int,
) -> None:
    """Draws spectrograms, an utterance a row, a version a column.

    Arguments
    ---------
    path : pathlib.Path
        PNG to write.
    rows : dict
        For each utterance's name its versions, ``{title: samples}``.
    sample_rate : int
        Of all samples (Hz).
    """
    # In a run's log.txt it would tell of every font it looks at.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(versions) for versions in rows.values())
    figure = Figure(
        figsize=(4.2 * columns, 2.4 * len(rows) + 0.6), layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(rows), columns, squeeze=False, sharex="row", sharey=True
    )
    for line, (name, versions) in zip(axes, rows.items(), strict=True):
        decibels = {
            title: spectrogram_decibels(wave, sample_rate)
            for title, wave in versions.items()
        }
        # One scale a row, so that what was removed shows as darker.
        top = max(float(d.max()) for d in decibels.values())
        for axis, (title, values) in zip(line, decibels.items(), strict=True):
            seconds = len(versions[title]) / sample_rate
            image = axis.imshow(
                values,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=top - 80,
                vmax=top,
                extent=(0, seconds, 0, sample_rate / 2000),
            )
            axis.set_title(f"{name}: {title}", fontsize=9)
        line[0].set_ylabel("kHz")
        figure.colorbar(image, ax=line[-1], label="dB")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    write_atomically(path, picture.getvalue())


def spectrogram_decibels(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Level (dB) in windows of 25 ms.

    Arguments
    ---------
    wave : np.ndarray
        ``[samples]``.
    sample_rate : int
        Of the samples (Hz).

    Returns
    -------
    np.ndarray
        ``[bins, frames]``.

    Example
    -------
    >>> tone = np.sin(2 * np.pi * 4000 * np.arange(16000) / 16000)
    >>> decibels = spectrogram_decibels(tone, 16000)
    >>> decibels.shape, int(decibels[:, 50].argmax())  # bins of 40 Hz
    ((201, 161), 100)
    """
    from scipy.signal import stft

    window = round(0.025 * sample_rate)
    wave = np.pad(wave, (0, max(0, window - len(wave))))
    _, _, spectrum = stft(
        wave, sample_rate, nperseg=window, noverlap=window * 3 // 4
    )
    return 20 * np.log10(np.abs(spectrum) + 1e-8)
