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


def weigh_frames(
    length: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    """Weights of the frames of ``[B, T, F, 2]``: 0.0 where padded, else 1.0.

    They are ``[B, T, 1]``; without relative lengths ``[1, 1, 1]``.
    """
    valid = mark_valid_frames(length, targets.shape[1], targets.device)
    if valid is None:
        return torch.ones(1, 1, 1, device=targets.device)
    return valid.squeeze(1)
