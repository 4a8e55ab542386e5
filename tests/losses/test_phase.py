"""The phase loss: known values, padding, silence, descent."""

import math

import pytest
import torch
from helpers.signals import noise
from torch.nn.functional import pad

from phasen_sb import phase_loss


def turned(clean, angle):
    """Turns a spectrum ``[B, T, F, 2]`` by angles."""
    z = torch.view_as_complex(clean)
    return torch.view_as_real(z * torch.polar(torch.ones(()), angle))


def terms_of(judged, clean, **options):
    loss, terms = phase_loss(judged, clean, return_terms=True, **options)
    assert loss == pytest.approx(float(sum(terms.values())))
    return [float(term) for term in terms.values()]


@pytest.mark.parametrize("angle", [0.5, -2.0, 2 * math.pi - 0.3])
def test_terms_are_wrapped_angles(angle):
    clean = noise(2, 9, 33, 2)
    wrapped = min(abs(angle), 2 * math.pi - abs(angle))
    angle = torch.tensor(angle)
    found = terms_of(turned(clean, angle), clean)
    assert found == pytest.approx([wrapped, 0, 0], abs=1e-4)
    # A delay turns each bin further than the one before it ...
    slope = angle * torch.arange(33.0)
    found = terms_of(turned(clean, slope), clean)
    assert found[1:] == pytest.approx([wrapped, 0], abs=1e-4)
    # ... and another frequency each frame.
    slope = angle * torch.arange(9.0)[:, None]
    found = terms_of(turned(clean, slope), clean)
    assert found[1:] == pytest.approx([0, wrapped], abs=1e-4)


def test_levels_do_not_count_and_louder_bins_weigh_more():
    clean = noise(1, 9, 33, 2)
    assert max(terms_of(3 * clean, clean)) < 1e-6
    clean = torch.view_as_real(torch.ones(1, 8, 32, dtype=torch.complex64))
    clean[:, :, 16:] *= 10
    angle = torch.zeros(32)
    angle[16:] = 1.0
    for power in (0.0, 0.3, 1.0):
        [found, *_] = terms_of(turned(clean, angle), clean, power=power)
        assert found == pytest.approx(10**power / (1 + 10**power), rel=1e-4)


def test_padding_does_not_count():
    clean, judged = noise(1, 6, 33, 2), noise(1, 6, 33, 2, seed=1)
    batch = phase_loss(
        pad(judged, (0, 0, 0, 0, 0, 4), value=300.0),
        pad(clean, (0, 0, 0, 0, 0, 4), value=-200.0),
        torch.tensor([0.6]),
        reduction="batch",
    )
    assert float(batch) == pytest.approx(float(phase_loss(judged, clean)))


@pytest.mark.parametrize("silent", ["clean", "judged", "both", "some"])
def test_silence_has_no_phase_and_finite_gradients(silent):
    clean, judged = noise(2, 6, 33, 2), noise(2, 6, 33, 2, seed=1)
    if silent in ("clean", "both"):
        clean.zero_()
    if silent in ("judged", "both"):
        judged.zero_()
    if silent == "some":
        judged[:, 2:4], clean[0, :, 5] = 0, 0
    judged.requires_grad_()
    loss = phase_loss(judged, clean)
    loss.backward()
    assert (loss == 0) == (silent != "some")
    assert judged.grad.isfinite().all()


def test_it_brings_phases_near():
    clean, judged = noise(1, 6, 33, 2), noise(1, 6, 33, 2, seed=1)
    judged.requires_grad_()
    first = phase_loss(judged, clean)
    optimizer = torch.optim.Adam([judged], lr=0.03)
    for _ in range(200):
        loss = phase_loss(judged, clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * first


def test_wrong_reduction_is_named():
    with pytest.raises(ValueError, match="reduction is 'sum'"):
        phase_loss(noise(1, 6, 33, 2), noise(1, 6, 33, 2), reduction="sum")
