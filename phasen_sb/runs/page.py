"""The runs as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

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
    environment = Environment(
        loader=PackageLoader("phasen_sb.runs"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (format_score, format_hours, describe_state)
    environment.filters |= {f.__name__: f for f in functions}
    style = files("phasen_sb.leaderboard").joinpath("templates", "page.css")
    pictures = {}
    for name in list_curves(runs):
        svg = draw_svg(runs, name).encode()
        pictures[name] = (
            f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
        )
    lines = [choose_style(index) for index in range(len(runs))]
    return environment.get_template("page.html.j2").render(
        title=title,
        runs=runs,
        own=[describe_own(differences, i) for i in range(len(runs))],
        lines=[f"{STYLES[style]} {colour}" for colour, style in lines],
        differences=differences,
        metrics={
            metric: METRICS[metric].label for metric in list_metrics(runs)
        },
        pictures=pictures,
        style=Markup(style.read_text(encoding="utf-8")),
        version=VERSION,
    )
