"""Augmentation of pairs of noisy and clean speech, a batch at a time.

Every draw is derived from a seed, a text, so that a resumed training sees the
same data as an uninterrupted one.
"""

from phasen_sb.augmentation.batches import AugmentedBatches, add_augmentation
from phasen_sb.augmentation.effects import (
    Coloration,
    Hiss,
    Pauses,
    Reverberation,
    Speed,
)
from phasen_sb.augmentation.remix import Remix

__all__ = [
    "AugmentedBatches",
    "Coloration",
    "Hiss",
    "Pauses",
    "Remix",
    "Reverberation",
    "Speed",
    "add_augmentation",
]
