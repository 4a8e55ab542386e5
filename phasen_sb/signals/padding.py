"""Which frames of a padded batch belong to an utterance.

Inside the network every activation is ``[B, C, T, F]`` (batch, channel,
frame, frequency bin) and is zero on the frames past an utterance's end. A
convolution then sees past the end of a padded utterance exactly what it sees
past the end of a lone one.
"""

import torch
from torch import nn


def frame_mask(
    lengths: torch.Tensor | None, frames: int
) -> torch.Tensor | None:
    """Marks the frames that belong to each utterance.

    Arguments
    ---------
    lengths : torch.Tensor or None
        Relative lengths in (0, 1], ``[B]``; None: no padding anywhere.
    frames : int
        Number of frames of the padded batch, T.

    Returns
    -------
    torch.Tensor or None
        Float mask ``[B, 1, T, 1]``, one on valid frames, of which every
        utterance has at least one; None if ``lengths`` is None.

    Example
    -------
    >>> frame_mask(torch.tensor([1.0, 0.5]), 4).squeeze()
    tensor([[1., 1., 1., 1.],
            [1., 1., 0., 0.]])
    """
    if lengths is None:
        return None
    # Relative lengths are float quotients: only rounding gives the count back.
    count = torch.round(lengths * frames).clamp(min=1)
    index = torch.arange(frames, device=lengths.device)
    return (index < count.unsqueeze(1)).float()[:, None, :, None]


def apply_mask(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Zeroes the padded frames of ``x`` (``[B, C, T, F]``); None: no-op."""
    return x if mask is None else x * mask.to(x.dtype)


def count_frames(stft: nn.Module, samples: torch.Tensor) -> torch.Tensor:
    """Frames that an STFT makes of waveforms of the given lengths.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`ConvSTFT`.
    samples : torch.Tensor
        Lengths in samples, at least 1.

    Returns
    -------
    torch.Tensor
        Lengths in frames, at least 1.

    Example
    -------
    >>> count_frames(ConvSTFT(16000), torch.tensor([1, 100, 16000]))
    tensor([  1,   2, 161])
    """
    if stft.center:
        return samples // stft.hop_length + 1
    beyond = samples - stft.win_length
    return beyond.div(stft.hop_length, rounding_mode="floor").clamp(min=0) + 1


def count_samples(lengths: torch.Tensor, samples: int) -> torch.Tensor:
    """Relative lengths ``[B]`` as numbers of samples, at least 1.

    Example
    -------
    >>> count_samples(torch.tensor([1.0, 0.5]), 10)
    tensor([10,  5])
    """
    return torch.round(lengths * samples).long().clamp(min=1)


def clear_padding(
    x: torch.Tensor, lengths: torch.Tensor | None
) -> torch.Tensor:
    """Zeroes what lies past each waveform's length.

    Arguments
    ---------
    x : torch.Tensor
        ``[B, samples]``
    lengths : torch.Tensor or None
        Relative lengths ``[B]``; None: no padding.

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
