"""Batches are mixed anew at the SNRs that were asked for."""

import pytest
import torch

from phasen_sb.augmentation import Remix


def snr(noisy, clean):
    noise = (noisy - clean).square().sum(1)
    return 10 * torch.log10(clean.square().sum(1) / noise)


def test_snr_is_exact_also_in_unequal_batches():
    torch.manual_seed(0)
    counts = torch.tensor([1600, 400, 800, 1600])
    valid = torch.arange(1600) < counts.unsqueeze(1)
    clean = torch.randn(4, 1600) * valid
    noisy = clean + 0.3 * torch.randn(4, 1600) * valid
    mixed, same = Remix(5, 5)(noisy, clean, "seed", counts / 1600)
    assert same is clean
    assert torch.allclose(snr(mixed, clean), torch.full((4,), 5.0), atol=1e-3)
    assert not mixed[~valid].any()


def test_seed_decides_and_probability_switches_off():
    clean, noise = torch.randn(4, 100), torch.randn(4, 100)
    remix = Remix(0, 20)
    one = remix(clean + noise, clean, "1")[0]
    assert torch.equal(one, remix(clean + noise, clean, "1")[0])
    assert not torch.equal(one, remix(clean + noise, clean, "2")[0])
    noisy = clean + noise
    assert Remix(0, 20, probability=0)(noisy, clean, "1")[0] is noisy


def test_silence_gives_no_nan():
    silent = torch.zeros(2, 100)
    speech = torch.randn(2, 100)
    for clean, noise in ((silent, speech), (speech, silent)):
        mixed, _ = Remix(0, 0)(clean + noise, clean, "1")
        assert torch.equal(mixed, clean)
    with pytest.raises(ValueError, match="must not exceed"):
        Remix(10, 0)
