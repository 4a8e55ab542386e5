"""The level of a signal as far as it has been heard, frame by frame."""

import torch

from phasen_sb.signals.level import SILENCE_RMS

#: Frames are added up with weights that fall by 1 / e in so many seconds.
MEMORY_SECONDS = 2.0
#: Frames that are added up at once.
PIECE = 256


def measure_frame_powers(
    spectrogram: torch.Tensor, window: torch.Tensor
) -> torch.Tensor:
    """Measures the mean square of each frame's samples, without its offset.

    Arguments
    ---------
    spectrogram : torch.Tensor
        ``[B, T, F, 2]``
    window : torch.Tensor
        The window of the STFT.

    Returns
    -------
    torch.Tensor
        ``[B, T]``

    Example
    -------
    >>> from phasen_sb import ConvSTFT
    >>> stft = ConvSTFT(16000)
    >>> wave = 2 * torch.sin(torch.arange(1000) / 3)[None]
    >>> measure_frame_powers(stft(wave), stft.window)[0, 4].round()
    tensor(2.)
    """
    n_fft = 2 * (spectrogram.shape[2] - 1)
    energy = spectrogram[:, :, 1:].float().square().sum((2, 3))
    # Each bin stands for two of the full transform.
    return 2 * energy / (n_fft * window.to(energy.device).square().sum())


def follow_level(
    powers: torch.Tensor, decay: float, state: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Averages the powers of frames up to each of them.

    The weight of a frame falls with its age. Frames of digital silence do not
    count, so that what follows them is not taken for loud.

    Arguments
    ---------
    powers : torch.Tensor
        Mean squares, ``[B, T]``.
    decay : float
        Weight of a frame relative to that of the next one.
    state : torch.Tensor, optional
        What was returned for the frames before; by default there were none.

    Returns
    -------
    levels : torch.Tensor
        Root mean squares ``[B, T]``, at least ``SILENCE_RMS``.
    state : torch.Tensor
        For the next frames, ``[B, 2]``.

    Example
    -------
    >>> follow_level(torch.tensor([[0.0, 4.0, 16.0]]), 0.5)[0]
    tensor([[1.0000e-08, 2.0000e+00, 3.4641e+00]])
    """
    heard = (powers > SILENCE_RMS**2).to(powers.dtype)
    values = torch.stack([powers, heard], 2)
    if state is None:
        state = torch.zeros_like(values[:, 0])
    parts = []
    with torch.autocast(powers.device.type, enabled=False):
        for part in values.split(PIECE, 1):
            ages = torch.arange(part.shape[1], device=powers.device)
            weights = decay ** (ages[:, None] - ages).to(powers.dtype)
            earlier = state[:, None] * decay ** (ages[:, None] + 1)
            parts.append(weights.tril() @ part + earlier)
            state = parts[-1][:, -1]
    energy, count = torch.cat(parts, 1).unbind(2)
    levels = (energy / count.clamp(min=1e-30)).sqrt()
    return levels.clamp(min=SILENCE_RMS), state
