"""PHASEN speech enhancement as SpeechBrain modules.

All that a YAML names has its public name here. Names load on first use
(PEP 562), so that worker processes which need only the metrics start without
importing PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from phasen_sb.utils.moved_modules import find_moved_modules
from phasen_sb.utils.public_names import PUBLIC
from phasen_sb.utils.version import VERSION

if TYPE_CHECKING:  # what editors and type checkers see; tests compare it
    from phasen_sb.adapters.carrier import (
        CarrierDecoder as CarrierDecoder,
        CarrierEncoder as CarrierEncoder,
        CarrierMaskNet as CarrierMaskNet,
    )
    from phasen_sb.adapters.feature_enhancer import (
        FeatureEnhancer as FeatureEnhancer,
    )
    from phasen_sb.adapters.magnitude_mask import MagnitudeMask as MagnitudeMask
    from phasen_sb.adapters.waveform_map import WaveformMap as WaveformMap
    from phasen_sb.augmentation.babble import Babble as Babble
    from phasen_sb.augmentation.channel import (
        Clipping as Clipping,
        Codec as Codec,
    )
    from phasen_sb.augmentation.coloration import (
        Coloration as Coloration,
        Hiss as Hiss,
    )
    from phasen_sb.augmentation.levels import (
        LevelChanges as LevelChanges,
        Pauses as Pauses,
    )
    from phasen_sb.augmentation.remix import Remix as Remix
    from phasen_sb.augmentation.reverberation import (
        Reverberation as Reverberation,
    )
    from phasen_sb.augmentation.speed import Speed as Speed
    from phasen_sb.augmentation.synthetic_noise import (
        SyntheticNoise as SyntheticNoise,
    )
    from phasen_sb.augmentation.vocal_tract import VocalTract as VocalTract
    from phasen_sb.data.datasets import make_datasets as make_datasets
    from phasen_sb.data.prepare import prepare_data as prepare_data
    from phasen_sb.inference.speechbrain_enhancer import Enhancer as Enhancer
    from phasen_sb.inference.streaming import (
        StreamingEnhancer as StreamingEnhancer,
    )
    from phasen_sb.losses.compressed_complex import (
        compressed_complex_loss as compressed_complex_loss,
    )
    from phasen_sb.losses.log_spectral import (
        log_spectral_loss as log_spectral_loss,
    )
    from phasen_sb.losses.objective import Objective as Objective
    from phasen_sb.losses.pesq import pesq_loss as pesq_loss
    from phasen_sb.losses.phase import phase_loss as phase_loss
    from phasen_sb.losses.si_snr import si_snr_loss as si_snr_loss
    from phasen_sb.losses.spectral import SpectralLoss as SpectralLoss
    from phasen_sb.models.baselines import (
        LogMagnitudeNetwork as LogMagnitudeNetwork,
        WaveformModel as WaveformModel,
    )
    from phasen_sb.models.enhancer import PhasenEnhancer as PhasenEnhancer
    from phasen_sb.models.reference import (
        load_reference_checkpoint as load_reference_checkpoint,
    )
    from phasen_sb.models.weights import load_weights as load_weights
    from phasen_sb.network.batch_norm import BatchNorm as BatchNorm
    from phasen_sb.network.blocks import (
        FrequencyTransformBlock as FrequencyTransformBlock,
        InformationCommunication as InformationCommunication,
        PhaseConv as PhaseConv,
    )
    from phasen_sb.network.heads import AmplitudeHead as AmplitudeHead
    from phasen_sb.network.layer_norms import (
        FrameLayerNorm as FrameLayerNorm,
        GlobalLayerNorm as GlobalLayerNorm,
    )
    from phasen_sb.network.layers import ConvNormAct as ConvNormAct
    from phasen_sb.network.output import PhasenOutput as PhasenOutput
    from phasen_sb.network.phasen import PHASEN as PHASEN
    from phasen_sb.network.two_stream_block import (
        TwoStreamBlock as TwoStreamBlock,
    )
    from phasen_sb.optimized import optimize as optimize
    from phasen_sb.signals.conv_stft import (
        ConvISTFT as ConvISTFT,
        ConvSTFT as ConvSTFT,
    )
    from phasen_sb.signals.istft import ISTFT as ISTFT
    from phasen_sb.signals.windows import sqrt_hann_window as sqrt_hann_window
    from phasen_sb.training.checkpoints import (
        AtomicCheckpointer as AtomicCheckpointer,
    )
    from phasen_sb.training.schedules import (
        WarmupLinearDecay as WarmupLinearDecay,
    )

__version__ = VERSION

__all__ = sorted(PUBLIC)

find_moved_modules()


if not TYPE_CHECKING:  # else any name would seem to be there

    def __getattr__(name):
        if name not in PUBLIC:
            raise AttributeError(
                f"module 'phasen_sb' has no attribute {name!r}"
            )
        return getattr(import_module(f"phasen_sb.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
