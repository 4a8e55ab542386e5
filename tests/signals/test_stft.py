"""STFT and inverse STFT equal SpeechBrain's, to the last bit."""

import pytest
import torch
from speechbrain.processing import features

from phasen_sb import ISTFT, sqrt_hann_window
from phasen_sb.signals.stft import STFT


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"win_length": 32, "hop_length": 16, "n_fft": 512},
        {"n_fft": 512, "window_fn": sqrt_hann_window, "onesided": False},
        {"center": False, "window_fn": torch.ones},
    ],
    ids=str,
)
def test_equals_speechbrains(options, channels):
    torch.manual_seed(0)
    x = torch.randn(2, 6400, *([channels] if channels else []))
    spectrogram = STFT(16000, **options)(x)
    theirs = features.STFT(16000, **options)(x)
    assert torch.equal(spectrogram, theirs)
    for samples in (None, 6000):
        wave = ISTFT(16000, **options)(spectrogram, samples)
        theirs = features.ISTFT(16000, **options)(spectrogram, samples)
        assert torch.equal(wave, theirs)


def test_windows_and_padding_equal_speechbrains():
    options = {"normalized_stft": True, "pad_mode": "reflect"}
    x = torch.randn(1, 2205)
    ours = STFT(22050, 11.1, 5.3, **options)
    theirs = features.STFT(22050, 11.1, 5.3, **options)
    assert torch.equal(ours(x), theirs(x))
