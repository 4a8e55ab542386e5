"""A picture of systems' scores: against the input's SNR, and by system."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from phasen_sb.metrics.registry import METRICS
from phasen_sb.scoring.systems import FolderScores, System
from phasen_sb.utils.figures import new_figure, save_figure

# One of each kind: quality, intelligibility, distortion.
PREFERRED = ("pesq_wb", "estoi", "si_sdr")
SNR_BIN_DB = 5.0


def choose_metrics(metrics: Sequence[str]) -> list[str]:
    """Chooses up to three of the measures that were computed.

    Example
    -------
    >>> choose_metrics(["stoi", "estoi", "pesq_wb"])
    ['pesq_wb', 'estoi']
    """
    preferred = [metric for metric in PREFERRED if metric in metrics]
    return preferred or list(metrics[:3])


def plot_scores(path: str | Path, scores: FolderScores) -> None:
    """Draws scores against input SNR (if known) and as violins by system.

    The PNG has one row for each of up to three measures.
    """
    metrics = choose_metrics(scores.systems[0].report.metrics)
    columns = 2 if scores.input_snr else 1
    figure = new_figure(5.5 * columns, 3.4 * len(metrics))
    axes = figure.subplots(len(metrics), columns, squeeze=False)
    for metric, row in zip(metrics, axes, strict=True):
        for axis in row:
            axis.grid(alpha=0.3)
            axis.set_ylabel(METRICS[metric].label)
        if scores.input_snr:
            for index, system in enumerate(scores.systems):
                _against_snr(row[0], system, metric, scores, f"C{index}")
            row[0].set_xlabel("input SNR (dB)")
        _violins(row[-1], scores.systems, metric)
    if scores.input_snr:
        axes[0][0].legend(fontsize="small")
    save_figure(figure, path, dpi=150)


def _against_snr(
    axis, system: System, metric: str, scores: FolderScores, color: str
) -> None:
    points = np.array(
        [
            (scores.input_snr[key], values[metric])
            for key, values in system.report.scores.items()
            if metric in values and key in scores.input_snr
        ]
    )
    if not points.size:
        return
    snr, score = points.T
    axis.scatter(snr, score, s=6, alpha=0.3, color=color, linewidths=0)
    bins = np.round(snr / SNR_BIN_DB)
    line = [(snr[bins == b].mean(), score[bins == b].mean()) for b in set(bins)]
    axis.plot(*zip(*sorted(line), strict=True), color=color, label=system.name)


def _violins(axis, systems: list[System], metric: str) -> None:
    for index, system in enumerate(systems):
        values = system.report.values(metric)
        # A violin shows a density, which needs more than one value.
        if len(set(values)) > 1:
            parts = axis.violinplot(
                [values], [index], widths=0.8, showextrema=False
            )
            parts["bodies"][0].set_facecolor(f"C{index}")
        if values:
            axis.boxplot(
                [values],
                positions=[index],
                widths=0.15,
                showfliers=False,
                medianprops={"color": "black"},
            )
    axis.set_xticks(range(len(systems)), [system.name for system in systems])
    if len(systems) > 3:
        axis.tick_params(axis="x", rotation=30)
