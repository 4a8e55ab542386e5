"""Figures without a display, written in full or not at all."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from phasen_sb.utils.files import write_atomically

if TYPE_CHECKING:  # loads slowly
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Makes an empty figure that leaves room for its labels.

    It is made without ``pyplot``, so that it needs no display and leaves the
    caller's settings of matplotlib alone.

    Arguments
    ---------
    width, height : float
        Size in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Example
    -------
    >>> figure = new_figure(4, 3)
    >>> figure.subplots().set_title("nothing yet")
    Text(0.5, 1.0, 'nothing yet')
    >>> save_figure(figure, getfixture("tmp_path") / "figure.png")
    """
    # Otherwise the log of a run would name every font that it looks at.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.figure import Figure  # loads slowly

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: str | Path, dpi: int = 110) -> None:
    """Writes a figure as PNG.

    Arguments
    ---------
    figure : matplotlib.figure.Figure
        See :func:`new_figure`.
    path : str or pathlib.Path
        The file; its folder is made where missing.
    dpi : int
        Pixels per inch.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, dpi=dpi)
    write_atomically(path, picture.getvalue())
