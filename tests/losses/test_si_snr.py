"""SI-SNR of a batch: SpeechBrain's values, padding, silence."""

import pytest
import torch
from speechbrain.nnet.loss.si_snr_loss import si_snr_loss as one_by_one

from phasen_sb import si_snr_loss


def signals(count=3, samples=8000):
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, count, samples, generator=generator)
    return clean + 0.3 * noise, clean


@pytest.mark.parametrize("lengths", [None, [1.0, 0.5, 0.25]])
@pytest.mark.parametrize("reduction", ["mean", "batch"])
def test_values_and_gradients_are_speechbrains(lengths, reduction):
    judged, clean = signals()
    found, expected = (judged.clone().requires_grad_() for _ in range(2))
    relative = torch.tensor(lengths or [1.0] * 3)
    ours = si_snr_loss(found, clean, lengths and relative, reduction=reduction)
    theirs = one_by_one(expected, clean, relative, reduction=reduction)
    torch.testing.assert_close(ours, theirs)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)


def test_scale_does_not_count():
    judged, clean = signals()
    torch.testing.assert_close(
        si_snr_loss(5 * judged, clean), si_snr_loss(judged, 0.1 * clean)
    )


@pytest.mark.parametrize("gain", [0.0, 1.0])
def test_silence_has_finite_gradients(gain):
    judged, clean = signals()
    for estimate, target in ((gain * judged, 0 * clean), (0 * judged, clean)):
        estimate.requires_grad_()
        loss = si_snr_loss(estimate, target)
        loss.backward()
        assert loss.isfinite() and estimate.grad.isfinite().all()


def test_other_lengths_and_reductions_are_refused():
    judged, clean = signals()
    with pytest.raises(ValueError, match="length|shape"):
        si_snr_loss(judged[:, :100], clean)
    with pytest.raises(ValueError, match=r"\[3, 8000\] and targets \[1,"):
        si_snr_loss(judged, clean[:1])
    with pytest.raises(ValueError, match="reduction is 'sum'"):
        si_snr_loss(judged, clean, reduction="sum")
