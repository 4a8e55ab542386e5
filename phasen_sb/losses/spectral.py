"""A loss on spectrograms for recipes that compare waveforms."""

from collections.abc import Callable

import torch
from torch import nn

from phasen_sb.losses.compressed_complex import compressed_complex_loss
from phasen_sb.signals.padding import clear_padding, count_frames, count_samples


class SpectralLoss:
    """Analyses two waveforms and compares their spectrograms.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`.
    loss : callable
        On ``[B, T, F, 2]``, of SpeechBrain's convention.

    Example
    -------
    >>> from phasen_sb import ConvSTFT
    >>> loss = SpectralLoss(ConvSTFT(16000))
    >>> clean = torch.randn(2, 1600)
    >>> loss(clean, clean), loss(0 * clean, clean, reduction="batch").shape
    (tensor(0.), torch.Size([2]))
    """

    def __init__(
        self, stft: nn.Module, loss: Callable = compressed_complex_loss
    ):
        self.stft = stft
        self.loss = loss

    def __call__(
        self,
        predictions: torch.Tensor,
        targets: torch.Tensor,
        length: torch.Tensor | None = None,
        reduction: str = "mean",
    ) -> torch.Tensor:
        """Compares ``[B, samples]`` with ``[B, samples]``.

        Arguments
        ---------
        predictions : torch.Tensor
            Enhanced waveforms ``[B, samples]``.
        targets : torch.Tensor
            Clean waveforms ``[B, samples]``.
        length : torch.Tensor, optional
            Relative lengths ``[B]``.
        reduction : str
            As the loss takes it; ``batch`` serves SpeechBrain's MetricStats.

        Returns
        -------
        torch.Tensor
            What the loss gives.
        """
        samples = targets.shape[1]
        stft = self.stft.to(targets.device)  # no Brain moves a loss
        predictions = clear_padding(predictions[:, :samples], length)
        spectrogram = stft(targets.float())
        frames = None
        if length is not None:
            counts = count_samples(length.to(targets.device), samples)
            frames = count_frames(stft, counts) / spectrogram.shape[1]
        return self.loss(
            stft(predictions.float()),
            spectrogram,
            frames,
            reduction=reduction,
        )
