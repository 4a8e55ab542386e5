"""The curves of all runs in one picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from phasen_sb.metrics.registry import METRICS
from phasen_sb.runs.record import TrainingRun
from phasen_sb.utils.figures import new_figure, save_figure

if TYPE_CHECKING:  # loads slowly
    from matplotlib.axes import Axes

COLOURS = (
    "#2563a8 #c2410c #2f855a #7c5cb8 #b7791f #0e7490 #be185d #5a6675".split()
)
#: Names in matplotlib and in CSS.
STYLES = {"-": "solid", "--": "dashed", ":": "dotted"}


def choose_style(index: int) -> tuple[str, str]:
    """Chooses colour and line style (matplotlib's) of a run.

    Example
    -------
    >>> choose_style(0), choose_style(9)
    (('#2563a8', '-'), ('#c2410c', '--'))
    """
    styles = list(STYLES)
    rest, colour = divmod(index, len(COLOURS))
    return COLOURS[colour], styles[rest % len(styles)]


def list_curves(runs: Sequence[TrainingRun]) -> list[str]:
    """Names what is drawn: losses, then validation scores."""
    names = dict.fromkeys(name for run in runs for name in run.curves)
    losses = [name for name in names if name.endswith(" loss")]
    scores = [f"valid {m}" for m in METRICS if f"valid {m}" in names]
    return losses + scores


def draw_curve(axes: "Axes", runs: Sequence[TrainingRun], name: str) -> None:
    """Draws one statistic of all runs by epoch."""
    for index, run in enumerate(runs):
        if name in run.curves:
            colour, style = choose_style(index)
            axes.plot(
                *zip(*run.curves[name], strict=True),
                style,
                color=colour,
                marker=".",
                label=run.name,
            )
    metric = METRICS.get(name.removeprefix("valid "))
    axes.set_title(f"valid {metric.label}" if metric else name, fontsize=10)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)


def draw_curves(path: Path, runs: Sequence[TrainingRun]) -> bool:
    """Draws all curves of all runs into one PNG.

    Returns False, and draws nothing, if no run has finished an epoch.
    """
    names = list_curves(runs)
    if not names:
        return False
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    drawn = [run for run in runs if run.curves]
    figure = new_figure(4.2 * columns, 3.0 * rows + 0.22 * len(drawn) + 0.3)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(all_axes, names, strict=False):
        draw_curve(axes, runs, name)
    for axes in all_axes[len(names) :]:
        axes.set_axis_off()
    lines = {}
    for axes in figure.axes:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            lines.setdefault(label, line)
    figure.legend(lines.values(), lines, loc="outside lower center", fontsize=8)
    save_figure(figure, path)
    return True


def draw_svg(runs: Sequence[TrainingRun], name: str) -> str:
    """Draws one statistic of all runs as SVG, without a legend."""
    figure = new_figure(5.2, 3.2)
    draw_curve(figure.subplots(), runs, name)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
