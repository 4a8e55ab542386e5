"""Losses name inputs that they cannot compare."""

import pytest
from helpers.signals import noise

from phasen_sb import compressed_complex_loss, log_spectral_loss, phase_loss


@pytest.mark.parametrize("other", [(2, 9, 257), (2, 9, 200, 2), (1, 9, 257, 2)])
@pytest.mark.parametrize(
    "loss", [compressed_complex_loss, log_spectral_loss, phase_loss]
)
def test_other_shapes_are_named(loss, other):
    message = rf"{loss.__name__} .*\[B, T, F, 2\] and got .*domain"
    with pytest.raises(ValueError, match=message):
        loss(noise(*other), noise(2, 9, 257, 2))
