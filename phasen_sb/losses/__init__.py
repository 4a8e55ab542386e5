"""Losses, each in a file of its name, and :class:`phasen_sb.Objective`."""

from phasen_sb.losses.compressed_complex import compressed_complex_loss
from phasen_sb.losses.log_spectral import log_spectral_loss
from phasen_sb.losses.objective import Objective
from phasen_sb.losses.pesq import pesq_loss
from phasen_sb.losses.phase import phase_loss
from phasen_sb.losses.si_snr import si_snr_loss
from phasen_sb.losses.spectral import SpectralLoss

__all__ = [
    "Objective",
    "SpectralLoss",
    "compressed_complex_loss",
    "log_spectral_loss",
    "pesq_loss",
    "phase_loss",
    "si_snr_loss",
]
