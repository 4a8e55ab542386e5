"""The level of waveforms."""

import torch

from phasen_sb.signals.padding import count_samples

#: A waveform of a lower RMS (-160 dB of full scale) is silent: not amplified.
SILENCE_RMS = 1e-8


def measure_level(
    x: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Measures the root mean square of each waveform, without its padding.

    Arguments
    ---------
    x : torch.Tensor
        ``[B, samples]``, zero past each length.
    lengths : torch.Tensor, optional
        Relative lengths ``[B]``.

    Returns
    -------
    torch.Tensor
        ``[B, 1]``, at least ``SILENCE_RMS``, so that silence can be divided
        by it.

    Example
    -------
    >>> wave = torch.tensor([[3.0, -3.0, 0.0, 0.0]])
    >>> measure_level(wave, torch.tensor([0.5]))
    tensor([[3.]])
    """
    x = x.float()
    count = torch.full_like(x[:, :1], x.shape[1])
    if lengths is not None:
        count = count_samples(lengths.to(x.device), x.shape[1]).unsqueeze(1)
    # Divided by the peak first: squares of a faint signal would underflow.
    peak = x.abs().amax(1, keepdim=True).clamp(min=SILENCE_RMS)
    mean = (x / peak).square().sum(1, keepdim=True) / count.clamp(min=1)
    return (peak * mean.sqrt()).clamp(min=SILENCE_RMS)
