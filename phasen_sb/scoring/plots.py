"""A picture of systems' scores: against the input's SNR, and by system."""

import io

import numpy as np

from phasen_sb.metrics.registry import METRICS
from phasen_sb.scoring.folders import FolderScores, System

# One of each kind says most: quality, intelligibility, distortion.
PREFERRED = ("pesq_wb", "estoi", "si_sdr")
SNR_BIN_DB = 5.0


def plot_scores(scores: FolderScores) -> bytes:
    """Draws scores against input SNR (if known) and as violins by system.

    Arguments
    ---------
    scores : FolderScores
        What was scored.

    Returns
    -------
    bytes
        A PNG picture with one row for each of up to three metrics.
    """
    # The object-oriented interface needs no display and leaves the caller's
    # matplotlib settings alone.
    from matplotlib.figure import Figure

    chosen = scores.systems[0].report.metrics
    metrics = [metric for metric in PREFERRED if metric in chosen]
    metrics = metrics or list(chosen[:3])
    columns = 2 if scores.input_snr else 1
    figure = Figure(
        figsize=(5.5 * columns, 3.4 * len(metrics)), layout="constrained"
    )
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
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150)
    return picture.getvalue()


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
        # A violin needs a spread to estimate a density of.
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
