"""Figures without a display, written in full or not at all."""

import io
import logging

from phasen_sb.utils.files import write_atomically


def new_figure(width, height):
    # In a run's log.txt it would tell of every font it looks at.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure, path):
    picture = io.BytesIO()
    figure.savefig(picture, dpi=110)
    write_atomically(path, picture.getvalue())
