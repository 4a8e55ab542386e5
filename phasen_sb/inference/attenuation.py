"""How much is removed at most, and what was removed."""

from collections.abc import Iterable, Iterator

import numpy as np

from phasen_sb.audio.reading import AudioFile, read_samples
from phasen_sb.audio.writing import AudioWriter
from phasen_sb.errors import UserError
from phasen_sb.inference.sample_reader import replace_non_finite


def apply_limit(strength: float, limit: float | None) -> float:
    """Returns the strength at which at most ``limit`` (dB) is attenuated.

    Where all is removed, ``1 - strength`` of the input is left. Raises a
    :class:`phasen_sb.errors.UserError` if one of both is not possible.

    Example
    -------
    >>> apply_limit(1.0, 20.0)
    0.9
    """
    if not 0 <= strength <= 1:
        raise UserError(f"The strength is {strength}; it must be from 0 to 1.")
    if limit is None:
        return strength
    if not limit >= 0:
        raise UserError(f"The limit is {limit} dB; it must be at least 0.")
    return min(strength, 1 - 10 ** (-limit / 20))


def write_removed(
    file: AudioFile,
    writer: AudioWriter,
    parts: Iterable[np.ndarray],
) -> Iterator[np.ndarray]:
    """Passes the enhanced parts of ``file`` on, and writes what they lack."""
    for part in parts:
        before, _ = replace_non_finite(read_samples(file, len(part)))
        writer.write(before - part)
        yield part
