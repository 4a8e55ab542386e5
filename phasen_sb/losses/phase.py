"""The anti-wrapped distance of phases as a loss.

Two phases that differ by nearly a full turn are near each other. A phase is
known up to a constant only, so what it does from bin to bin (group delay) and
from frame to frame (instantaneous frequency) is compared, too.

Source: Ai and Ling, "Neural Speech Phase Prediction Based on Parallel
Estimation Architecture and Anti-Wrapping Losses", ICASSP 2023,
https://arxiv.org/abs/2211.15974; here weighted by the target's magnitude.
"""

import torch

from phasen_sb.errors import choose
from phasen_sb.losses.inputs import REDUCTIONS, align_spectra
from phasen_sb.signals.spectra import magnitude

#: Magnitudes below it have no phase: 60 dB below those of a spectrum of mean
#: power 1. It bounds gradients.
SILENCE = 1e-3


def phase_loss(
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None = None,
    allowed_len_diff: int = 3,
    reduction: str = "mean",
    power: float = 0.3,
    return_terms: bool = False,
) -> "torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]":
    """Compares the phases of two spectra, their slopes over bins and frames.

    Arguments
    ---------
    predictions : torch.Tensor
        Estimated spectrogram ``[B, T, F, 2]`` (real, imaginary).
    targets : torch.Tensor
        Clean spectrogram ``[B, T, F, 2]``. Bins in which either of both is
        silent (magnitude below 1e-3) do not count.
    length : torch.Tensor, optional
        Relative lengths in frames, ``[B]``; padded frames do not count.
    allowed_len_diff : int
        Difference in T that is cut off instead of being an error.
    reduction : str
        ``mean``: scalar over all valid bins; ``batch``: one value for each
        utterance, ``[B]``.
    power : float
        Bins weigh as much as the target's magnitude, raised to this power; 0:
        all the same, the public definition.
    return_terms : bool
        Return the three terms, too.

    Returns
    -------
    loss : torch.Tensor
        Sum of the mean absolute differences (rad) of phase, group delay and
        instantaneous frequency: 0 to 3 pi, 1.5 pi for random phases.
    terms : dict
        Only with ``return_terms``: ``phase``, ``group_delay`` and
        ``frequency``, reduced as the loss is and detached.

    Raises
    ------
    ValueError
        If the shapes are others, T differs by more than ``allowed_len_diff``,
        or ``reduction`` is unknown.

    Example
    -------
    >>> clean = torch.randn(2, 50, 257, 2)
    >>> loss, terms = phase_loss(-clean, clean, return_terms=True)
    >>> {name: round(float(term), 3) for name, term in terms.items()}
    {'phase': 3.142, 'group_delay': 0.0, 'frequency': 0.0}
    """
    choose("reduction", reduction, REDUCTIONS)
    predictions, targets, valid = align_spectra(
        "phase_loss", predictions, targets, length, allowed_len_diff
    )
    size = magnitude(targets)  # [B, T, F]
    silent = (size < SILENCE) | (magnitude(predictions) < SILENCE)
    weight = size.pow(power) * valid
    weight = torch.where(silent, 0.0, weight)
    # Its angle is the difference of both phases. Where there is none it is 1,
    # since the angle of zero has no gradient.
    turn = _turn_back(predictions, targets)
    turn = torch.where(silent.unsqueeze(-1), turn.new_tensor([1.0, 0.0]), turn)
    parts = {
        "phase": (turn, weight),
        "group_delay": _difference(turn, weight, 2),
        "frequency": _difference(turn, weight, 1),
    }
    terms = {
        name: _mean_angle(*part, reduction) for name, part in parts.items()
    }
    loss = sum(terms.values())
    if not return_terms:
        return loss
    return loss, {name: term.detach() for name, term in terms.items()}


def _turn_back(z, by):
    """The product of ``z`` and the conjugate of ``by``, both ``[..., 2]``."""
    real, imag = z.unbind(-1)
    by_real, by_imag = by.unbind(-1)
    return torch.stack(
        [real * by_real + imag * by_imag, imag * by_real - real * by_imag], -1
    )


def _difference(turn, weight, dim):
    """What a turn does along an axis, and the smaller weight of each two."""
    count = turn.shape[dim] - 1
    one, next_one = turn.narrow(dim, 0, count), turn.narrow(dim, 1, count)
    weights = weight.narrow(dim, 0, count), weight.narrow(dim, 1, count)
    return _turn_back(next_one, one), torch.minimum(*weights)


def _mean_angle(turn, weight, reduction):
    real, imag = turn.unbind(-1)
    error = torch.atan2(imag, real).abs() * weight
    axes = (0, 1, 2) if reduction == "mean" else (1, 2)
    count = weight.sum(axes)
    return error.sum(axes) / torch.where(count > 0, count, 1.0)
