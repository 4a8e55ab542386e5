"""What is reported of an enhanced file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class EnhancedFile:
    """What :meth:`phasen_sb.Enhancer.enhance_file` did."""

    source: Path
    target: Path
    seconds: float  #: length of the recording
    elapsed: float  #: seconds of work
    #: Samples that were NaN or infinite and became zero.
    non_finite: int = 0
    #: Samples beyond full scale before the output format limited them.
    over: int = 0
    #: Largest absolute sample before that limit; full scale is 1.
    peak: float = 0.0
    #: What the output was multiplied by; 1 without ``normalize``.
    gain: float = 1.0
    #: Whether strong sound below 20 Hz was removed as noise is.
    infrasound: bool = False
    #: What was removed, where it was asked for.
    residual: Path | None = None
    #: What became of a video's other tracks, in sentences.
    tracks: tuple[str, ...] = ()
    #: What was assumed of the input, and what of it the output cannot keep.
    remarks: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Lists, in sentences, what a listener should know."""
        notes = [f"{self.source}: {remark}" for remark in self.remarks]
        notes += self.tracks
        if self.non_finite:
            notes.append(
                f"{self.source}: {self.non_finite} samples were NaN or "
                "infinite and became zero."
            )
        if self.infrasound:
            notes.append(
                f"{self.source}: strong sound below 20 Hz, which nobody hears, "
                "was removed like noise."
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
