"""PHASEN for recipes that map waveform to waveform."""

import torch
from torch import nn


class WaveformMap(nn.Module):
    """Enhances waveforms ``[B, samples, 1]``, as the waveform_map recipe does.

    Arguments
    ---------
    enhancer : torch.nn.Module
        :class:`phasen_sb.PhasenEnhancer`.

    Example
    -------
    >>> from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
    >>> network = PHASEN(recurrent_units=8, dense_units=8)
    >>> enhancer = PhasenEnhancer(ConvSTFT(16000), ConvISTFT(16000), network)
    >>> WaveformMap(enhancer)(torch.randn(1, 1234, 1)).shape
    torch.Size([1, 1234, 1])
    """

    def __init__(self, enhancer: nn.Module):
        super().__init__()
        self.enhancer = enhancer

    def forward(
        self, x: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Enhances waveforms.

        Arguments
        ---------
        x : torch.Tensor
            Noisy waveforms ``[B, samples, 1]``.
        lengths : torch.Tensor, optional
            Relative lengths ``[B]``, which the stock recipe does not pass.

        Returns
        -------
        torch.Tensor
            ``[B, samples, 1]``

        Raises
        ------
        ValueError
            If ``x`` has another shape.
        """
        if x.dim() != 3 or x.shape[2] != 1:
            raise ValueError(
                "WaveformMap takes waveforms [batch, samples, 1], got "
                f"{list(x.shape)}."
            )
        return self.enhancer(x.squeeze(2), lengths)[0].unsqueeze(2)
