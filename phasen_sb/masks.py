"""Which frames of a padded batch belong to an utterance.

Inside the network every activation is ``[B, C, T, F]`` (batch, channel,
frame, frequency bin) and is zero on the frames past an utterance's end. A
convolution then sees past the end of a padded utterance exactly what it sees
past the end of a lone one.

Authors
 * The phasen_sb authors 2026
"""

import torch


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
