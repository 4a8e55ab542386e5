"""Recurrence over time: whole, padded or in steps."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from phasen_sb.network.frame_memory import FrameMemory
from phasen_sb.network.unpacked_recurrence import UnpackedRecurrence


def recur(
    layer: nn.LSTM | nn.GRU,
    x: torch.Tensor,
    valid: torch.Tensor | None = None,
    memory: FrameMemory | None = None,
) -> torch.Tensor:
    """Applies a recurrent layer over time; padding has no influence.

    Arguments
    ---------
    layer : torch.nn.LSTM or torch.nn.GRU
        One layer, ``batch_first``.
    x : torch.Tensor
        ``[B, T, features]``; values on padded frames must be far below 1e4.
    valid : torch.Tensor, optional
        ``[B, 1, T, 1]``: 1.0 on valid frames, 0.0 on padded ones.
    memory : FrameMemory, optional
        Of the last step, which a layer that runs forward only continues.

    Returns
    -------
    torch.Tensor
        ``[B, T, units]``, of both directions if it has two; what padded frames
        hold is of no meaning.

    Example
    -------
    >>> layer = nn.GRU(3, 5, batch_first=True, bidirectional=True)
    >>> recur(layer, torch.randn(2, 7, 3)).shape
    torch.Size([2, 7, 10])
    """
    if memory is not None:
        return memory.recur(layer, x)
    if valid is None or not layer.bidirectional:
        return layer(x)[0]
    if hasattr(layer, "unpacked"):
        return layer.unpacked(x, valid)
    # Packed, so that the backward direction starts at each utterance's own
    # last frame.
    packed = pack_padded_sequence(
        x,
        valid.sum((1, 2, 3)).long().cpu(),
        batch_first=True,
        enforce_sorted=False,
    )
    return pad_packed_sequence(
        layer(packed)[0], batch_first=True, total_length=x.shape[1]
    )[0]


def avoid_packing(layer: nn.LSTM | nn.GRU) -> None:
    """Makes padded batches of a layer not synchronise with a GPU.

    Results are the same. The layer's weights are copied, so this is for a
    network that is no longer trained.

    Example
    -------
    >>> layer = nn.GRU(3, 5, batch_first=True, bidirectional=True)
    >>> avoid_packing(layer)
    >>> recur(layer, torch.zeros(2, 7, 3), torch.ones(2, 1, 7, 1)).shape
    torch.Size([2, 7, 10])
    """
    if layer.bidirectional:
        layer.unpacked = UnpackedRecurrence(layer).to(layer.weight_ih_l0.device)
