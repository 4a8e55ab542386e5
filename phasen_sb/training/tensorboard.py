"""Logs a training to TensorBoard, an optional package."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phasen_sb.errors import UserError

if TYPE_CHECKING:
    from speechbrain.utils.train_logger import TensorboardLogger


def open_tensorboard(folder: str | os.PathLike) -> "TensorboardLogger":
    """Opens SpeechBrain's logger, which writes to ``folder/tensorboard``.

    Raises UserError if the package is not installed.
    """
    from speechbrain.utils.train_logger import TensorboardLogger

    try:
        return TensorboardLogger(os.path.join(folder, "tensorboard"))
    except ImportError as error:
        raise UserError(
            "use_tensorboard is on, but the package tensorboard is missing: "
            'pip install "phasen_sb[tensorboard]".'
        ) from error


def log_numbers(
    logger: "TensorboardLogger",
    meta: Mapping[str, Any],
    stats: Mapping[str, Mapping[str, Any]],
) -> None:
    """Logs the statistics of each split that are numbers.

    ``meta`` holds what is not a statistic, such as the epoch; ``stats`` are
    ``train_stats``, ``valid_stats`` or ``test_stats``, each by name.

    Example
    -------
    >>> class Printer:
    ...     def log_stats(self, meta, **stats):
    ...         print(meta, stats)
    >>> stats = {"loss": 0.5, "best": None}
    >>> log_numbers(Printer(), {"epoch": 1}, {"valid_stats": stats})
    {'epoch': 1} {'valid_stats': {'loss': 0.5}}
    """
    numbers = {
        split: {
            name: value
            for name, value in values.items()
            if isinstance(value, (int, float))
        }
        for split, values in stats.items()
    }
    logger.log_stats(dict(meta), **numbers)
