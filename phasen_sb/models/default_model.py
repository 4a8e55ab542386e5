"""The model that is used where the user names none."""

import os
from pathlib import Path

#: An exported model inside the package; its README.md is its model card.
DEFAULT_MODEL = Path(__file__).parent / "default"


def model_or_default(source: str | os.PathLike | None) -> str | os.PathLike:
    """Returns the model that the user named, or else the one that ships.

    Arguments
    ---------
    source : path or None
        What the user gave.

    Returns
    -------
    str or path

    Example
    -------
    >>> model_or_default("my_model")
    'my_model'
    """
    return DEFAULT_MODEL if source is None else source
