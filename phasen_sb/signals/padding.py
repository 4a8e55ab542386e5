"""Padding: which samples and frames of a batch belong to an utterance.

Lengths are relative, as SpeechBrain's batches give them: ``[B]``, in (0, 1],
as shares of the longest utterance. None means that nothing is padded.

Inside the network every activation is ``[B, C, T, F]`` (batch, channel,
frame, frequency bin) and is zero on the frames past an utterance's end. A
convolution then sees past the end of a padded utterance exactly what it sees
past the end of an unpadded one.
"""

import torch
from torch import nn


def mark_valid_frames(
    lengths: torch.Tensor | None,
    frames: int,
    device: torch.device | str | None = None,
) -> torch.Tensor | None:
    """Marks the frames that belong to each utterance.

    Arguments
    ---------
    lengths : torch.Tensor or None
        Relative lengths in frames, ``[B]``.
    frames : int
        Frames of the padded batch, T.
    device : torch.device, optional
        Of the result; that of ``lengths`` by default.

    Returns
    -------
    torch.Tensor or None
        ``[B, 1, T, 1]``, 1.0 on valid frames, of which every utterance has at
        least one, and 0.0 on padded ones; None if ``lengths`` is None.

    Example
    -------
    >>> mark_valid_frames(torch.tensor([1.0, 0.5]), 4).squeeze()
    tensor([[1., 1., 1., 1.],
            [1., 1., 0., 0.]])
    """
    if lengths is None:
        return None
    lengths = lengths.to(device or lengths.device)
    # Relative lengths are float quotients: only rounding gives the count back.
    count = torch.round(lengths * frames).clamp(min=1)
    index = torch.arange(frames, device=lengths.device)
    return (index < count.unsqueeze(1)).float()[:, None, :, None]


def clear_padded_frames(
    x: torch.Tensor, valid: torch.Tensor | None
) -> torch.Tensor:
    """Zeroes the padded frames of ``[B, C, T, F]``; ``valid`` None: no-op."""
    return x if valid is None else x * valid.to(x.dtype)


def count_frames(stft: nn.Module, samples: torch.Tensor) -> torch.Tensor:
    """Counts the frames that an STFT makes of waveforms.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`.
    samples : torch.Tensor
        Their lengths in samples, at least 1.

    Returns
    -------
    torch.Tensor
        Lengths in frames, at least 1.

    Example
    -------
    >>> from phasen_sb import ConvSTFT
    >>> count_frames(ConvSTFT(16000), torch.tensor([1, 100, 16000]))
    tensor([  1,   2, 161])
    """
    if stft.center:
        return samples // stft.hop_length + 1
    beyond = samples - stft.win_length
    return beyond.div(stft.hop_length, rounding_mode="floor").clamp(min=0) + 1


def count_samples(lengths: torch.Tensor, samples: int) -> torch.Tensor:
    """Converts relative lengths ``[B]`` to numbers of samples, at least 1.

    Example
    -------
    >>> count_samples(torch.tensor([1.0, 0.5]), 10)
    tensor([10,  5])
    """
    return torch.round(lengths * samples).long().clamp(min=1)


def clear_padding(
    x: torch.Tensor, lengths: torch.Tensor | None
) -> torch.Tensor:
    """Zeroes the padding of waveforms.

    Arguments
    ---------
    x : torch.Tensor
        ``[B, samples]``
    lengths : torch.Tensor or None
        Relative lengths in samples, ``[B]``; None: no padding.

    Returns
    -------
    torch.Tensor
        ``[B, samples]``

    Example
    -------
    >>> clear_padding(torch.ones(1, 4), torch.tensor([0.5]))
    tensor([[1., 1., 0., 0.]])
    """
    if lengths is None:
        return x
    index = torch.arange(x.shape[1], device=x.device)
    counts = count_samples(lengths.to(x.device), x.shape[1])
    return x.masked_fill(index >= counts.unsqueeze(1), 0.0)
