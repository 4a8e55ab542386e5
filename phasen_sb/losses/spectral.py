"""A loss on spectrograms, for recipes that compare waveforms."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from phasen_sb.losses.compressed_complex import compressed_complex_loss
from phasen_sb.losses.objective import Objective


class SpectralLoss:
    """Compares the spectrograms of waveforms.

    For SpeechBrain's recipes; ours have :class:`phasen_sb.Objective`.

    Arguments
    ---------
    stft : torch.nn.Module
        SpeechBrain's ``STFT`` or :class:`phasen_sb.ConvSTFT`.
    loss : callable
        Maps ``(predictions, targets, length, reduction)`` to the loss;
        predictions and targets are ``[B, T, F, 2]``.

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
        """Analyses and compares waveforms.

        Arguments
        ---------
        predictions : torch.Tensor
            Enhanced waveforms ``[B, samples]``; longer ones are cut.
        targets : torch.Tensor
            Clean waveforms ``[B, samples]``.
        length : torch.Tensor, optional
            Relative lengths ``[B]``.
        reduction : str
            As the loss takes it; ``batch`` serves SpeechBrain's MetricStats.

        Returns
        -------
        torch.Tensor
            What the loss returns.
        """
        loss = partial(self.loss, reduction=reduction)
        objective = Objective(loss={"loss": loss, "domain": "spectrum"})
        stft = self.stft.to(targets.device)  # a Brain does not move losses
        if length is not None:
            length = length.to(targets.device)
        wave = predictions[:, : targets.shape[1]].float()
        return objective(wave, None, targets.float(), length, stft)[0]
