"""The scale-invariant signal-to-noise ratio as a loss.

Source: Le Roux et al., "SDR - Half-baked or Well Done?", ICASSP 2019.
"""

import torch
from speechbrain.nnet.losses import reduce_loss

from phasen_sb.errors import choose
from phasen_sb.losses.inputs import REDUCTIONS, align_waveforms
from phasen_sb.signals.padding import clear_padding

#: Keeps quotients and logarithms of silence finite; SpeechBrain's.
EPS = torch.finfo(torch.float64).eps


def si_snr_loss(
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None = None,
    allowed_len_diff: int = 3,
    reduction: str = "mean",
) -> torch.Tensor:
    """Computes the negative SI-SNR (dB) of a whole batch at once.

    Values are those of SpeechBrain's ``si_snr_loss`` (with lengths rounded,
    not truncated, to whole samples). That one computes one utterance at a
    time, each of which synchronises with the GPU twice. SpeechBrain's
    ``cal_si_snr`` ignores padding, subtracts means and overwrites the
    estimates.

    Arguments
    ---------
    predictions : torch.Tensor
        Estimated waveforms ``[B, samples]``.
    targets : torch.Tensor
        Clean waveforms ``[B, samples]``.
    length : torch.Tensor, optional
        Relative lengths in samples, ``[B]``; padded samples do not count.
    allowed_len_diff : int
        Difference in samples that is cut off instead of being an error.
    reduction : str
        ``mean``: scalar; ``batch``: one value for each utterance, ``[B]``.

    Returns
    -------
    torch.Tensor
        The loss, on the device of the waveforms; 156.5 for a silent target.

    Raises
    ------
    ValueError
        If shapes are not ``[B, samples]`` or differ by more than
        ``allowed_len_diff``, or ``reduction`` is unknown.

    Example
    -------
    >>> clean, noise = torch.randn(2, 16000), torch.randn(2, 16000)
    >>> si_snr_loss(clean + 0.1 * noise, clean).round()
    tensor(-20.)
    """
    choose("reduction", reduction, REDUCTIONS)
    predictions, targets = align_waveforms(
        "si_snr_loss", predictions, targets, allowed_len_diff
    )
    predictions = clear_padding(predictions, length)
    targets = clear_padding(targets, length)
    dot = (predictions * targets).sum(1, keepdim=True)
    energy = targets.square().sum(1, keepdim=True) + EPS
    wanted = dot / energy * targets
    rest = (predictions - wanted).square().sum(1) + EPS
    ratio = 10 * torch.log10(wanted.square().sum(1) / rest + EPS)
    return reduce_loss(-ratio, torch.ones_like(ratio), reduction)
