"""The inverse STFT that does not synchronise equals SpeechBrain's."""

import pytest
import torch
from speechbrain.processing import features

from phasen_sb import (
    ISTFT,
    PHASEN,
    ConvISTFT,
    ConvSTFT,
    PhasenEnhancer,
    sqrt_hann_window,
)


@pytest.mark.parametrize("samples", [None, 4000, 4321, 5000])
@pytest.mark.parametrize(
    "options",
    [
        {"win_length": 25, "hop_length": 6.25, "window_fn": sqrt_hann_window},
        {"win_length": 32, "hop_length": 16, "n_fft": 512},
        {"win_length": 25, "n_fft": None, "window_fn": torch.hamming_window},
        {
            "win_length": 16,
            "n_fft": 256,
            "center": False,
            "window_fn": torch.ones,
        },
    ],
    ids=str,
)
def test_overlap_add_is_torchs(options, samples):
    torch.manual_seed(0)
    ours = ISTFT(16000, **options)
    x = torch.randn(2, 26, (ours.n_fft or 400) // 2 + 1, 2).double()
    x.requires_grad_()
    ours.window = ours.window.double()
    results = [
        compute(x, samples)
        for compute in (features.ISTFT.forward.__get__(ours), ours.overlap_add)
    ]
    weights = torch.randn_like(results[0])
    gradients = [
        torch.autograd.grad((y * weights).sum(), x)[0] for y in results
    ]
    for pair in (results, gradients):
        assert torch.allclose(*pair, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "kinds",
    [
        (features.STFT, ISTFT),
        (features.STFT, features.ISTFT),
        (ConvSTFT, ConvISTFT),
    ],
    ids=["ours", "speechbrain", "convolutions"],
)
def test_padded_batch_at_once(kinds):
    torch.manual_seed(0)
    # This window begins with a zero.
    options = {"n_fft": 400, "window_fn": sqrt_hann_window}
    front_end = [kind(16000, **options) for kind in kinds]
    network = PHASEN(400, 4, 2, 1, recurrent_units=4, dense_units=8)
    enhancer = PhasenEnhancer(*front_end, network).eval()
    padded = (
        # Whatever lies behind the ends.
        torch.randn(3, 41, 201, 2, requires_grad=True),
        torch.tensor([41, 7, 1]),
        torch.tensor([6400, 1100, 100]),
        6400,
    )
    plain = enhancer._synthesise(*padded)
    together = enhancer._synthesise_at_once(*padded)
    assert torch.allclose(together, plain, atol=1e-6)
    gradients = [
        torch.autograd.grad(wave.square().sum(), padded[0])[0]
        for wave in (together, plain)
    ]
    assert torch.allclose(*gradients, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused():
    x = torch.randn(1, 20, 201, 2)
    for options in ({"n_fft": 512}, {"n_fft": 400, "win_length": 32}):
        with pytest.raises(ValueError, match="n_fft is .*; it must be 400"):
            ISTFT(16000, **options).overlap_add(x)


def test_windows_that_vanish_leave_finite_values():
    """Where ``torch.istft`` raises an error, which would synchronise."""
    x = torch.randn(1, 20, 201, 2, requires_grad=True)
    istft = ISTFT(16000, center=False, window_fn=sqrt_hann_window)
    wave = istft.overlap_add(x)
    wave.sum().backward()
    assert wave.isfinite().all() and x.grad.isfinite().all()
