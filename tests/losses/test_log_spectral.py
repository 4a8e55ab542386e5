"""The log-spectral loss: known values, padding, silence, descent."""

import math

import pytest
import torch
from helpers.signals import noise
from torch.nn.functional import pad

from phasen_sb import log_spectral_loss


def test_levels_differ_in_nepers():
    clean = noise(2, 9, 257, 2)
    for gain in (0.1, 3.0):
        found = log_spectral_loss(gain * clean, clean, floor=0)
        assert found == pytest.approx(abs(math.log(gain)), rel=1e-5)


def test_phases_and_where_in_a_band_the_power_lies_do_not_count():
    clean = noise(1, 9, 257, 2)
    turned = clean.flip(-1)
    assert log_spectral_loss(turned, clean) < 1e-6
    rolled = clean.clone()
    rolled[:, :, :8] = clean[:, :, :8].roll(3, 2)
    assert log_spectral_loss(rolled, clean) < 1e-6
    rolled[:, :, :16] = clean[:, :, :16].roll(3, 2)
    assert log_spectral_loss(rolled, clean) > 1e-3


@pytest.mark.parametrize("first, last", [(0, 8), (64, 72), (248, 257)])
def test_a_band_counts_as_any_other_whatever_its_level(first, last):
    clean = noise(1, 9, 257, 2)
    clean[:, :, 100:] *= 0.01
    softer = clean.clone()
    softer[:, :, first:last] /= 10
    found = log_spectral_loss(softer, clean, floor=0)
    assert found == pytest.approx(math.log(10) / 32, rel=1e-4)


def test_differences_fade_below_the_floor():
    clean = noise(1, 9, 257, 2)
    clean[:, 4:] *= 1e-3  # 60 dB below, where half of a power is the floor's
    mean = clean.square().sum(-1).mean()
    judged = clean.clone()
    judged[:, 4:] = 0
    found = log_spectral_loss(judged, clean, band_bins=257, floor=1e-6)
    power = clean[:, 4:].square().sum(-1).mean(2) / mean
    expected = (1 + power / 1e-6).log().sum() / 2 / 9
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_padding_does_not_count():
    clean, judged = noise(1, 6, 257, 2), noise(1, 6, 257, 2, seed=1)
    clean[:, :, 128:] *= 1e-3  # a louder mean would bury these in the floor
    alone = log_spectral_loss(judged, clean)
    batch = log_spectral_loss(
        pad(judged, (0, 0, 0, 0, 0, 4), value=300.0),
        pad(clean, (0, 0, 0, 0, 0, 4), value=200.0),
        torch.tensor([0.6]),
        reduction="batch",
    )
    torch.testing.assert_close(batch, alone[None])


@pytest.mark.parametrize("floor", [0, 1e-6])
@pytest.mark.parametrize("gain", [0, 1, 1e3])
@pytest.mark.parametrize("length", [None, torch.tensor([1.0, 1.0, 0.5])])
def test_gradients_are_finite_on_silence(floor, gain, length):
    clean = noise(3, 6, 257, 2)
    clean[1] = 0
    clean[2, 3:] = 0
    judged = (gain * noise(3, 6, 257, 2, seed=1)).requires_grad_()
    loss = log_spectral_loss(
        judged, clean, length, reduction="batch", floor=floor
    )
    loss.sum().backward()
    assert loss.isfinite().all() and judged.grad.isfinite().all()
    assert loss[1] == 0


def test_targets_below_minus_60_db_are_silent():
    clean = noise(1, 6, 257, 2)
    clean /= clean.square().sum(-1).mean().sqrt()
    assert log_spectral_loss(clean, 0.9e-3 * clean) == 0
    assert log_spectral_loss(clean, 1.1e-3 * clean) > 1


def test_half_precision_is_computed_in_full():
    clean, judged = noise(1, 6, 257, 2), noise(1, 6, 257, 2, seed=1).bfloat16()
    found = log_spectral_loss(judged, clean)
    assert found.dtype == torch.float32
    assert found == log_spectral_loss(judged.float(), clean)


def test_descent_brings_missing_bands_back():
    clean = noise(1, 6, 257, 2)
    judged = (1e-3 * clean).requires_grad_()
    optimizer = torch.optim.Adam([judged], 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        log_spectral_loss(judged, clean).backward()
        optimizer.step()
    assert log_spectral_loss(judged, clean) < 0.1


@pytest.mark.parametrize("bins", [1, 5, 8, 12])
def test_spectra_of_few_bins(bins):
    clean = noise(2, 4, bins, 2)
    found = log_spectral_loss(clean / 10, clean, floor=0)
    assert found == pytest.approx(math.log(10), rel=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reduction": "total"}, "total"),
        ({"band_bins": 0}, "band_bins is 0"),
        ({"band_bins": 2.5}, "band_bins is 2.5"),
        ({"floor": -1.0}, "floor is -1.0"),
        ({"floor": math.nan}, "floor is nan"),
        ({"allowed_len_diff": 1}, "length"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, message):
    clean = noise(1, 9, 257, 2)
    with pytest.raises(ValueError, match=message):
        log_spectral_loss(clean[:, :6], clean, **options)
