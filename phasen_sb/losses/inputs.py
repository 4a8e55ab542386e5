"""Inputs of losses, checked and prepared alike on the same domain."""

import torch
from speechbrain.nnet.losses import truncate

from phasen_sb.signals.padding import mark_valid_frames

#: Of losses that have one value for each utterance.
REDUCTIONS = ("mean", "batch")


def align_waveforms(
    loss: str,
    predictions: torch.Tensor,
    targets: torch.Tensor,
    allowed_len_diff: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cuts waveforms ``[B, samples]`` to the same length.

    Raises ValueError, which names the loss, if their shapes are others or
    their lengths differ by more than ``allowed_len_diff`` samples.
    """
    shapes = predictions.shape, targets.shape
    if any(len(s) != 2 for s in shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(
            f"{loss} compares waveforms [B, samples] and got predictions "
            f"{list(shapes[0])} and targets {list(shapes[1])}."
        )
    return truncate(predictions, targets, allowed_len_diff)


def align_spectra(
    loss: str,
    predictions: torch.Tensor,
    targets: torch.Tensor,
    length: torch.Tensor | None,
    allowed_len_diff: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cuts spectra ``[B, T, F, 2]`` to the same T, and weighs their frames.

    Returns both in fp32, also under autocast: bf16 would lose the small
    differences; and weights that are 0.0 on padded frames and 1.0 on others,
    ``[B, T, 1]`` or, without relative lengths, ``[1, 1, 1]``. Raises
    ValueError, which names the loss, if their shapes are others or T differs
    by more than ``allowed_len_diff``.
    """
    shapes = predictions.shape, targets.shape
    if any(len(s) != 4 or s[3] != 2 for s in shapes) or (
        shapes[0][::2] != shapes[1][::2]
    ):
        raise ValueError(
            f"{loss} compares complex spectra [B, T, F, 2] and got "
            f"predictions {list(shapes[0])} and targets {list(shapes[1])}; its "
            "domain is spectrum or consistent_spectrum."
        )
    predictions, targets = truncate(predictions, targets, allowed_len_diff)
    valid = mark_valid_frames(length, targets.shape[1], targets.device)
    if valid is None:
        valid = torch.ones(1, 1, 1, 1, device=targets.device)
    return predictions.float(), targets.float(), valid.squeeze(1)
