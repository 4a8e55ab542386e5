"""Waveforms are compared by their spectrograms."""

import pytest
import torch

from phasen_sb import ConvSTFT, SpectralLoss

STFT = ConvSTFT(16000)
LOSS = SpectralLoss(STFT)


def test_is_the_loss_of_the_spectrograms():
    predictions, targets = torch.randn(2, 2, 4000).unbind()
    expected = LOSS.loss(STFT(predictions), STFT(targets), reduction="batch")
    found = LOSS(predictions, targets, reduction="batch")
    assert torch.equal(found, expected)
    # Longer predictions are cut.
    longer = torch.cat([predictions, torch.randn(2, 4000)], 1)
    assert torch.equal(LOSS(longer, targets, reduction="batch"), expected)


def test_padding_does_not_count():
    predictions, targets = torch.randn(2, 1, 4000).unbind()
    alone = LOSS(predictions[:, :2000], targets[:, :2000])
    targets[:, 2000:] = 0
    padded = LOSS(predictions, targets, torch.tensor([0.5]))
    assert padded.item() == pytest.approx(alone.item(), rel=1e-3)
