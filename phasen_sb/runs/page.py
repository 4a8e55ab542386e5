"""The runs as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence

from phasen_sb.leaderboard.page import load_template, read_template
from phasen_sb.metrics.formatting import format_score
from phasen_sb.metrics.registry import METRICS
from phasen_sb.runs.curves import (
    STYLES,
    choose_style,
    draw_svg,
    list_curves,
)
from phasen_sb.runs.record import TrainingRun
from phasen_sb.runs.settings import describe_own
from phasen_sb.runs.table import describe_state, format_hours, list_metrics
from phasen_sb.utils.version import VERSION


def to_html(
    runs: Sequence[TrainingRun],
    differences: Mapping[str, Sequence[str]],
    title: str,
) -> str:
    """Writes the page, with its style and its pictures inside."""
    template = load_template(
        "phasen_sb.runs", format_score, format_hours, describe_state
    )
    pictures = {}
    for name in list_curves(runs):
        svg = draw_svg(runs, name).encode()
        pictures[name] = (
            f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
        )
    lines = [choose_style(index) for index in range(len(runs))]
    return template.render(
        title=title,
        runs=runs,
        own=[describe_own(differences, i) for i in range(len(runs))],
        lines=[f"{STYLES[style]} {colour}" for colour, style in lines],
        differences=differences,
        metrics={
            metric: METRICS[metric].label for metric in list_metrics(runs)
        },
        pictures=pictures,
        style=read_template("page.css"),
        version=VERSION,
    )
