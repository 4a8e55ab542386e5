"""Where enhanced files are written, and what is reported of them."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from phasen_sb.errors import UserError


@dataclass(frozen=True)
class EnhancedFile:
    """What :meth:`phasen_sb.Enhancer.enhance_file` did.

    Arguments
    ---------
    source : pathlib.Path
        The input.
    target : pathlib.Path
        The output.
    seconds : float
        Length of the recording.
    elapsed : float
        Seconds of work.
    non_finite : int
        Samples that were NaN or infinite and became zero.
    over : int
        Samples beyond full scale before the output format limited them.
    peak : float
        Largest absolute sample before that; full scale is 1.
    gain : float
        What the output was multiplied by; 1 without ``normalize``.
    """

    source: Path
    target: Path
    seconds: float
    elapsed: float
    non_finite: int = 0
    over: int = 0
    peak: float = 0.0
    gain: float = 1.0

    def notes(self) -> list[str]:
        """Lists, in sentences, what a listener should know."""
        notes = []
        if self.non_finite:
            notes.append(
                f"{self.source}: {self.non_finite} samples were NaN or "
                "infinite and became zero."
            )
        if self.over:
            excess = 20 * np.log10(self.peak)
            notes.append(
                f"{self.target}: {self.over} samples exceed full scale, by up "
                f"to {excess:.1f} dB, and are clipped; --normalize scales the "
                "file down, --format wav:FLOAT keeps them."
            )
        if self.gain != 1.0:
            notes.append(
                f"{self.target}: scaled by {20 * np.log10(self.gain):.1f} dB "
                "to fit full scale."
            )
        return notes


class PeakMeter:
    """Finds the peak and counts samples beyond full scale."""

    def __init__(self):
        self.peak = 0.0
        self.over = 0

    def add(self, block: np.ndarray) -> None:
        """Looks at more samples, any shape."""
        magnitude = np.abs(block)
        self.peak = max(self.peak, float(magnitude.max(initial=0.0)))
        self.over += int((magnitude > 1.0).sum())


def name_output(
    source: Path,
    target: str | os.PathLike | None = None,
    format: str | None = None,
) -> Path:
    """Names the output of a file.

    Example
    -------
    >>> name_output(Path("talks/interview.mp3")).name
    'interview.enhanced.mp3'
    >>> name_output(Path("interview.mp3"), format="wav:FLOAT").name
    'interview.enhanced.wav'
    """
    if target is not None:
        return Path(target)
    suffix = source.suffix
    if format is not None:
        suffix = "." + format.partition(":")[0].lower()
    return source.with_name(f"{source.stem}.enhanced{suffix}")


def check_output(source: Path, target: Path, overwrite: bool) -> None:
    """Refuses an output that would destroy something.

    Raises
    ------
    UserError
        If it is the input, a folder, or there already.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(
            f"{target} is the input itself; give another output file."
        )
    if target.is_dir():
        raise UserError(f"{target} is a folder; give an output file.")
    if target.exists() and not overwrite:
        raise UserError(
            f"{target} exists already; give --overwrite (overwrite=True) to "
            "replace it, or another output file."
        )


def format_by_suffix(source: Path, target: Path) -> str | None:
    """Names the format that an output's suffix asks for.

    None where it has none, or the same as the input.
    """
    if target.suffix.lower() == source.suffix.lower():
        return None
    return target.suffix[1:].lower() or None
