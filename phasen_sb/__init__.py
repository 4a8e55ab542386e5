"""PHASEN speech enhancement as SpeechBrain modules.

Names load on first use (PEP 562), so that worker processes which need only
the metrics start without importing PyTorch.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "PHASEN": "phasen",
    "PhasenOutput": "phasen",
    "PhasenEnhancer": "enhancer",
    "optimize": "optimized",
    "Enhancer": "inference.pretrained",
    "ISTFT": "istft",
    "ConvSTFT": "features",
    "ConvISTFT": "features",
    "sqrt_hann_window": "features",
    "compressed_complex_loss": "losses",
    "log_spectral_loss": "envelope_loss",
    "pesq_loss": "perceptual_loss",
    "si_snr_loss": "waveform_loss",
    "Objective": "objectives",
    "load_reference_checkpoint": "reference",
    "FrequencyTransformBlock": "blocks",
    "TwoStreamBlock": "blocks",
    "InformationCommunication": "blocks",
    "PhaseConv": "blocks",
    "AmplitudeHead": "heads",
    "ConvNormAct": "layers",
    "BatchNorm": "norms",
    "GlobalLayerNorm": "norms",
    "FrameLayerNorm": "norms",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'phasen_sb' has no attribute {name!r}")
    return getattr(import_module(f"phasen_sb.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
