"""PHASEN in the shapes that SpeechBrain's recipes expect of a model.

There is one adapter in each file. The YAML fragments in ``hparams/models``
build them.
"""

from phasen_sb.adapters.carrier import (
    CarrierDecoder,
    CarrierEncoder,
    CarrierMaskNet,
)
from phasen_sb.adapters.feature_enhancer import FeatureEnhancer
from phasen_sb.adapters.magnitude_mask import MagnitudeMask
from phasen_sb.adapters.waveform_map import WaveformMap

__all__ = [
    "CarrierDecoder",
    "CarrierEncoder",
    "CarrierMaskNet",
    "FeatureEnhancer",
    "MagnitudeMask",
    "WaveformMap",
]
