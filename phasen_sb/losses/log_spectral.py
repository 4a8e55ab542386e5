"""The log-spectral distance of spectral envelopes as a loss.

A loss on compressed spectra, or on waveforms, gains little from a weak sound
whose phase cannot be known, so a network learns to drop it: speech in hiss
loses its high frequencies. On a logarithmic scale a missing weak band counts
as much as a missing loud one.

Source: Gray and Markel, "Distance measures for speech processing", IEEE TASSP
1976, doi:10.1109/TASSP.1976.1162849; here of bands, and limited below.
"""

import torch
from speechbrain.nnet.losses import reduce_loss

from phasen_sb.errors import choose
from phasen_sb.losses.inputs import REDUCTIONS, align_spectra

#: Mean power of the bands below which a target is silent: about 80 dB below
#: the level that the network works at.
SILENCE = 1e-6


def log_spectral_loss(
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None = None,
    allowed_len_diff: int = 3,
    reduction: str = "mean",
    band_bins: int = 8,
    floor: float = 1e-6,
) -> torch.Tensor:
    """Compares the bands of two spectra on a logarithmic scale.

    Arguments
    ---------
    predictions : torch.Tensor
        Estimated spectrogram ``[B, T, F, 2]`` (real, imaginary).
    targets : torch.Tensor
        Clean spectrogram ``[B, T, F, 2]``. The loss of a silent one (mean
        power below 1e-6) is 0: it has no envelope.
    length : torch.Tensor, optional
        Relative lengths in frames, ``[B]``; padded frames do not count.
    allowed_len_diff : int
        Difference in T that is cut off instead of being an error.
    reduction : str
        ``mean``: scalar over all valid frames; ``batch``: one value for each
        utterance, ``[B]``.
    band_bins : int
        Bins in a band, whose mean power is compared. The last band also has
        the bins that are left over.
    floor : float
        Share of the target's mean power, over all its frames and bands,
        below which differences fade: 1e-6 is -60 dB.

    Returns
    -------
    torch.Tensor
        Mean absolute difference of the natural logarithms of the magnitudes:
        1 is 8.7 dB.

    Raises
    ------
    ValueError
        If the shapes are others, T differs by more than
        ``allowed_len_diff``, ``reduction`` is unknown, ``band_bins`` is not
        a positive integer or ``floor`` is not from 0 to below 1.

    Example
    -------
    >>> clean = torch.randn(2, 50, 257, 2)
    >>> log_spectral_loss(clean, clean)
    tensor(0.)
    >>> round(float(log_spectral_loss(clean / 10, clean, floor=0)), 3)
    2.303
    """
    choose("reduction", reduction, REDUCTIONS)
    _check(band_bins, floor)
    predictions, targets, valid = align_spectra(
        "log_spectral_loss", predictions, targets, length, allowed_len_diff
    )
    estimate = _band_powers(predictions, band_bins)
    reference = _band_powers(targets, band_bins)
    count = valid.expand_as(reference).sum((1, 2), keepdim=True)
    level = (reference * valid).sum((1, 2), keepdim=True) / count
    # The added constant keeps frames of digital silence finite.
    lowest = level * floor + torch.finfo(level.dtype).tiny
    error = (estimate + lowest).log() - (reference + lowest).log()
    error = torch.where(level > SILENCE, error.abs() / 2, 0.0)
    return reduce_loss(error * valid, valid.expand_as(error), reduction)


def _check(band_bins, floor):
    if not isinstance(band_bins, int) or band_bins < 1:
        raise ValueError(
            f"band_bins is {band_bins}; it must be a positive integer."
        )
    if not 0 <= floor < 1:
        raise ValueError(f"floor is {floor}; it must be from 0 to below 1.")


def _band_powers(spectrogram, band_bins):
    """``[B, T, F, 2]`` to mean powers ``[B, T, bands]``."""
    power = spectrogram.square().sum(-1)
    bands = max(power.shape[2] // band_bins, 1)
    last = (bands - 1) * band_bins
    parts = power[..., :last].unflatten(2, (bands - 1, band_bins)).mean(-1)
    return torch.cat([parts, power[..., last:].mean(-1, keepdim=True)], -1)
