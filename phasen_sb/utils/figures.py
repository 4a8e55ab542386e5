"""Figures without a display, written in full or not at all."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from phasen_sb.utils.files import write_atomically

if TYPE_CHECKING:  # loads slowly
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """Makes an empty figure that leaves room for its labels; sizes in inches.

    It is made without ``pyplot``, so that it needs no display and leaves the
    caller's settings of matplotlib alone.
    """
    # Otherwise the log of a run would name every font that it looks at.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from matplotlib.figure import Figure  # loads slowly

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: str | Path, dpi: int = 110) -> None:
    """Writes a figure as PNG, at ``dpi`` pixels per inch.

    For folder and errors, see :func:`phasen_sb.utils.files.write_atomically`.
    """
    picture = io.BytesIO()
    figure.savefig(picture, dpi=dpi)
    write_atomically(path, picture.getvalue())
