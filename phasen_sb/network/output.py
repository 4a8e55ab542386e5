"""What PHASEN takes, returns, and how the heads' estimates become that."""

from typing import NamedTuple

import torch

from phasen_sb.signals.spectra import magnitude, unit_phase


class PhasenOutput(NamedTuple):
    """What :class:`phasen_sb.PHASEN` returns.

    ``spectrogram`` and ``phase`` are ``[B, T, F, 2]`` (real, imaginary). With
    two streams ``mask`` is ``[B, T, F]``, positive; with one it is
    ``[B, T, F, 2]``, complex.
    """

    spectrogram: torch.Tensor
    mask: torch.Tensor
    phase: torch.Tensor


def check_spectrogram(spectrogram: torch.Tensor, n_bins: int) -> None:
    """Raises ValueError unless the shape is ``[B, T, n_bins, 2]``."""
    if spectrogram.dim() != 4 or spectrogram.shape[2:] != (n_bins, 2):
        raise ValueError(
            "PHASEN takes a spectrogram [batch, frames, "
            f"{n_bins}, 2], got {list(spectrogram.shape)}."
        )


def enhance(
    spectrogram: torch.Tensor,
    estimate: torch.Tensor,
    phase: torch.Tensor | None,
    input_share: float = 0.0,
    added: torch.Tensor | None = None,
) -> PhasenOutput:
    """Applies the estimates of both heads to the noisy spectrogram.

    Arguments
    ---------
    spectrogram : torch.Tensor
        Noisy complex spectrogram ``[..., T, F, 2]``.
    estimate : torch.Tensor
        The mask: with two streams ``[..., T, F]``; with one, complex,
        ``[..., T, 2 * F]``, real parts before imaginary parts.
    phase : torch.Tensor or None
        Unit-modulus phase ``[..., T, F, 2]``; None with one stream.
    input_share : float
        See :class:`phasen_sb.PHASEN`.
    added : torch.Tensor, optional
        What a filter over the neighbours of each bin adds, of the
        spectrogram's shape.

    Returns
    -------
    PhasenOutput
        Enhanced spectrogram, mask and phase.

    Example
    -------
    >>> spectrogram = torch.randn(1, 50, 17, 2)
    >>> one = torch.cat([torch.ones(1, 50, 17), torch.zeros(1, 50, 17)], -1)
    >>> out = enhance(spectrogram, one, None)
    >>> torch.equal(out.spectrogram, spectrogram)
    True
    """
    if phase is None:
        estimate, enhanced = _complex_product(spectrogram, estimate)
        phase = unit_phase(enhanced)
    else:
        scale = magnitude(spectrogram) * estimate  # [..., T, F]
        enhanced = scale.unsqueeze(-1) * phase
    if added is not None:
        enhanced = enhanced + added
    if input_share:
        enhanced = torch.lerp(enhanced, spectrogram, input_share)
    return PhasenOutput(enhanced, estimate, phase)


def _complex_product(spectrogram, estimate):
    mask = torch.stack(estimate.chunk(2, dim=-1), dim=-1)  # [..., T, F, 2]
    real, imag = spectrogram.unbind(-1)
    mask_real, mask_imag = mask.unbind(-1)
    return mask, torch.stack(
        [
            real * mask_real - imag * mask_imag,
            real * mask_imag + imag * mask_real,
        ],
        dim=-1,
    )
