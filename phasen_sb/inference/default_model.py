"""The model that is used where the user names none.

Authors
 * The phasen_sb authors 2026
"""

import os
from pathlib import Path

from phasen_sb.errors import UserError

#: An exported model inside the package; used as soon as it is there.
DEFAULT_MODEL = Path(__file__).parents[1] / "models" / "default"
NO_MODEL = (
    "No trained model ships with phasen_sb yet: train one with `python "
    "recipes/train.py hparams/phasen.yaml --data_folder VOICEBANK` (without "
    "--data_folder on the small sample corpus, just to try), export it with "
    "`phasen export results/phasen/1234 my_model` and give --model my_model."
)


def model_or_default(source: str | os.PathLike | None) -> str | os.PathLike:
    """Returns the model that the user named, or else the default.

    Arguments
    ---------
    source : path or None
        What the user gave.

    Returns
    -------
    str or path

    Raises
    ------
    UserError
        If neither is there, with the way to a model. An untrained network is
        never run.

    Example
    -------
    >>> model_or_default("my_model")
    'my_model'
    """
    if source is not None:
        return source
    if not DEFAULT_MODEL.is_dir():
        raise UserError(NO_MODEL)
    return DEFAULT_MODEL
