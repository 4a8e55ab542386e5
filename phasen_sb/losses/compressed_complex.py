"""The power-compressed complex spectrogram loss.

Source: Yin et al., "PHASEN", AAAI 2020, section "Training", after Ephrat et
al., "Looking to Listen at the Cocktail Party", 2018.
"""

from typing import Any, Literal, overload

import torch
from speechbrain.nnet.losses import reduce_loss

from phasen_sb.errors import choose
from phasen_sb.losses.inputs import align_spectra

COMPRESSIONS = ("own", "target")
REDUCTIONS = ("mean", "batch", "batchmean", "sum", "none")


@overload
def compressed_complex_loss(
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None = None,
    allowed_len_diff: int = 3,
    reduction: str = "mean",
    power: float = 0.3,
    amplitude_weight: float = 0.5,
    compression: str = "own",
    magnitude_floor: float = 1e-3,
    scale: float | bool = 1.0,
    eps: float = 1e-12,
    return_terms: Literal[False] = False,
) -> torch.Tensor: ...


@overload
def compressed_complex_loss(
    *args: Any, return_terms: Literal[True], **kwargs: Any
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]: ...


def compressed_complex_loss(
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None = None,
    allowed_len_diff: int = 3,
    reduction: str = "mean",
    power: float = 0.3,
    amplitude_weight: float = 0.5,
    compression: str = "own",
    magnitude_floor: float = 1e-3,
    scale: float | bool = 1.0,
    eps: float = 1e-12,
    return_terms: bool = False,
) -> torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Compares two complex spectrograms with compressed magnitudes.

    The amplitude term is the squared error of the magnitudes to the power
    ``power``. The phase-aware term is that of the compressed complex
    spectrograms, averaged over real and imaginary part: bins of high
    amplitude, where the speech is, weigh most. Values and gradients are finite
    on digital silence, too.

    Arguments
    ---------
    predictions : torch.Tensor
        Estimated spectrogram ``[B, T, F, 2]`` (real, imaginary).
    targets : torch.Tensor
        Clean spectrogram ``[B, T, F, 2]``.
    length : torch.Tensor, optional
        Relative lengths in frames, ``[B]``; padded frames do not count.
    allowed_len_diff : int
        Difference in T that is cut off instead of being an error.
    reduction : str
        ``mean``: scalar over all valid bins; ``batch``: one value for each
        utterance, ``[B]``; ``batchmean``: sum over B; ``sum``: scalar;
        ``none``: ``[B, T, F]``.
    power : float
        Exponent c of the compression.
    amplitude_weight : float
        Weight of the amplitude term; the phase-aware term has the rest.
    compression : str
        How the phase-aware term compresses: ``own``: each spectrogram by its
        own magnitude; ``target``: both by the target's factor
        ``|S|^c / |S|``.
    magnitude_floor : float
        With ``target``: magnitudes below this share of the utterance's
        greatest count as that share in the factor, which would otherwise
        explode in the target's pauses. 0 switches the floor off. An
        utterance whose target is silent is compressed as with ``own``.
    scale : float or bool
        Factor on both terms. True: 2 * F, the rows of the stacked
        spectrogram; with it, ``compression="target"`` and
        ``magnitude_floor=0`` the values are those of the public reference
        code.
    eps : float
        Added to squared magnitudes inside the power.
    return_terms : bool
        Return the two terms, too.

    Returns
    -------
    loss : torch.Tensor
        Scalar, or as ``reduction`` says.
    terms : dict
        Only with ``return_terms``: ``amplitude`` and ``phase``, reduced as
        the loss is, unweighted and detached.

    Raises
    ------
    ValueError
        If the shapes are others, T differs by more than ``allowed_len_diff``,
        or ``compression`` or ``reduction`` is unknown.

    Example
    -------
    >>> clean = torch.randn(2, 50, 257, 2)
    >>> compressed_complex_loss(clean, clean)
    tensor(0.)
    >>> noisy = clean + torch.randn(2, 50, 257, 2)
    >>> compressed_complex_loss(noisy, clean, reduction="batch").shape
    torch.Size([2])
    """
    choose("compression", compression, COMPRESSIONS)
    choose("reduction", reduction, REDUCTIONS)
    predictions, targets, valid = align_spectra(
        *("compressed_complex_loss", predictions, targets),
        *(length, allowed_len_diff),
    )

    square = targets.square().sum(-1) + eps  # [B, T, F]
    own_square = predictions.square().sum(-1) + eps
    amplitude = own_square.pow(power / 2) - square.pow(power / 2)

    own_factor = own_square.pow((power - 1) / 2)
    factor = square.pow((power - 1) / 2)
    if compression == "target":
        peak = (square * valid).amax((1, 2), keepdim=True)
        floored = torch.maximum(square, peak * magnitude_floor**2)
        factor = floored.pow((power - 1) / 2)
        # The factor of a silent target would depend on eps alone.
        own_factor = torch.where(peak > 2 * eps, factor, own_factor)
    own_factor, factor = own_factor.unsqueeze(-1), factor.unsqueeze(-1)
    phase = predictions * own_factor - targets * factor  # [B, T, F, 2]

    if scale is True:
        scale = 2 * targets.shape[2]

    def reduce(error):
        error = error * valid * scale
        if reduction == "sum":
            return error.sum()
        return reduce_loss(error, valid.expand_as(error), reduction)

    amplitude = reduce(amplitude.square())
    phase = reduce(phase.square().mean(-1))
    loss = amplitude_weight * amplitude + (1 - amplitude_weight) * phase
    if not return_terms:
        return loss
    return loss, {"amplitude": amplitude.detach(), "phase": phase.detach()}
