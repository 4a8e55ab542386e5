"""Augmentation of pairs of noisy and clean speech, a batch at a time.

Every draw comes from a seed of text: a resumed training hears what an unbroken
one hears.
"""

from phasen_sb.augmentation.batches import AugmentedBatches, augmented
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
    "augmented",
]
