"""PHASEN in the shapes that SpeechBrain's recipes ask a model for.

One adapter a file; the YAML fragments in ``hparams/models`` build them, see
README.md, "Swap PHASEN into other recipes".
"""

from phasen_sb.slots.carrier import (
    CarrierDecoder,
    CarrierEncoder,
    CarrierMaskNet,
)
from phasen_sb.slots.feature_enhancer import FeatureEnhancer
from phasen_sb.slots.magnitude_mask import MagnitudeMask
from phasen_sb.slots.spectral_loss import SpectralLoss
from phasen_sb.slots.waveform_map import WaveformMap

__all__ = [
    "CarrierDecoder",
    "CarrierEncoder",
    "CarrierMaskNet",
    "FeatureEnhancer",
    "MagnitudeMask",
    "SpectralLoss",
    "WaveformMap",
]
