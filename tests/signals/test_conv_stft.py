"""Convolutional STFT against SpeechBrain's; reconstruction of every sample."""

import pytest
import torch
from helpers.signals import noise
from speechbrain.processing.features import ISTFT, STFT

from phasen_sb import ConvISTFT, ConvSTFT, sqrt_hann_window
from phasen_sb.signals.padding import count_frames
from phasen_sb.signals.spectra import magnitude, unit_phase

SEED = {"win_length": 25, "hop_length": 6.25, "n_fft": 512}
SEED["window_fn"] = sqrt_hann_window
PAPER = SEED | {"hop_length": 10, "window_fn": torch.hann_window}
# 399 and 77 samples, both odd, in an FFT that is wider.
ODD = SEED | {"win_length": 24.9375, "hop_length": 4.8125}
geometries = pytest.mark.parametrize(
    "geometry", [SEED, PAPER, ODD], ids=["seed", "paper", "odd"]
)


def relative_error(actual, expected):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max() / expected.abs().max()


@geometries
@pytest.mark.parametrize("samples", [1, 77, 512, 4321])
def test_equals_speechbrains_pair(geometry, samples):
    x = noise(2, samples)
    spectrogram = STFT(16000, **geometry)(x)
    ours = ConvSTFT(16000, **geometry)(x)
    assert relative_error(ours, spectrogram) < 1e-5
    # A spectrogram that no waveform has.
    changed = spectrogram * noise(*spectrogram.shape)
    lengths = [samples] if samples < 200 else [samples, samples - 100, None]
    for length in lengths:
        theirs = ISTFT(16000, **geometry)(changed, sig_length=length)
        ours = ConvISTFT(16000, **geometry)(changed, sig_length=length)
        assert relative_error(ours, theirs) < 1e-5


@pytest.mark.parametrize("pair", [(STFT, ISTFT), (ConvSTFT, ConvISTFT)])
@pytest.mark.parametrize("geometry", [SEED, PAPER], ids=["seed", "paper"])
def test_every_sample_of_every_length_comes_back(pair, geometry):
    stft, istft = (cls(16000, **geometry) for cls in pair)
    x = noise(1, 4096)
    for samples in [*range(1, 601), 1600, 2999, 3001, 4095]:
        wave = x[:, :samples]
        spectrogram = stft(wave)
        back = istft(spectrogram, sig_length=samples)
        assert back.shape == wave.shape
        assert (back - wave).abs().max() < 1e-5, samples
        frames = samples // stft.hop_length + 1
        assert count_frames(stft, torch.tensor(samples)) == frames
        assert spectrogram.shape[1] == frames


@pytest.mark.parametrize("synthesis", ["inverse_fft", "pseudo_inverse"])
def test_without_centering(synthesis):
    stft = ConvSTFT(16000, **SEED, center=False)
    istft = ConvISTFT(16000, **SEED, center=False, synthesis=synthesis)
    for samples in (400, 499, 500, 501, 4321):
        x = noise(2, samples)
        spectrogram = stft(x)
        frames = (samples - 400) // 100 + 1
        assert spectrogram.shape == (2, frames, 257, 2)
        assert count_frames(stft, torch.tensor(samples)) == frames
        # Frame t is the windowed FFT of samples t * hop and on.
        part = x[:, -400 - (samples - 400) % 100 :][:, :400]
        fft = torch.fft.rfft(part * sqrt_hann_window(400), n=512)
        fft = torch.view_as_real(fft)
        assert relative_error(spectrogram[:, -1], fft) < 1e-5
        back = istft(spectrogram, sig_length=samples)
        whole = 400 + 100 * (frames - 1)
        assert back.shape == x.shape and not back[:, whole:].any()
        # The window, squared, vanishes towards both ends: epsilon shows.
        assert (back - x)[:, 1:whole].abs().max() < 1e-3
        assert (back - x)[:, 20 : whole - 20].abs().max() < 1e-5
        assert istft(spectrogram).shape == (2, whole)
    assert count_frames(stft, torch.tensor([1, 399])).tolist() == [1, 1]


def test_known_answer_of_a_cosine():
    """A cosine of amplitude 1 on bin 32: half the window's sum."""
    x = torch.cos(2 * torch.pi * 1000 / 16000 * torch.arange(4000))
    frame = ConvSTFT(16000, **SEED)(x[None])[0, 20]  # centred at sample 2000
    assert magnitude(frame).argmax() == 32
    half = sqrt_hann_window(400).sum() / 2
    # Phase counts from the start of the 512-sample FFT frame.
    phase = torch.tensor(2 * torch.pi * 1000 / 16000 * (2000 - 256))
    expected = half * torch.stack([torch.cos(phase), torch.sin(phase)])
    assert torch.allclose(frame[32], expected, atol=0.1)


def test_kernels_are_parameters_only_when_trainable():
    for cls in (ConvSTFT, ConvISTFT):
        assert not list(cls(16000).parameters())
        (parameter,) = cls(16000, trainable=True).parameters()
        assert parameter.shape == (514, 1, 400)


@pytest.mark.parametrize("synthesis", ["inverse_fft", "pseudo_inverse"])
def test_trainable_kernels_learn_and_reset(synthesis):
    stft = ConvSTFT(16000, trainable=True)
    istft = ConvISTFT(16000, trainable=True, synthesis=synthesis)
    x = noise(1, 2000)
    istft(stft(x) * 2, sig_length=2000).square().sum().backward()
    for module in (stft, istft):
        kernel = module.weight.detach().clone()
        assert module.weight.grad.isfinite().all() and module.weight.grad.any()
        torch.nn.init.zeros_(module.weight)
        module.reset_parameters()
        assert torch.equal(module.weight, kernel)


def test_stays_in_fp32_under_autocast():
    stft, istft = ConvSTFT(16000), ConvISTFT(16000)
    x = noise(1, 2000)
    with torch.autocast("cpu", torch.bfloat16):
        spectrogram = stft(x.bfloat16())
        wave = istft(spectrogram.bfloat16(), sig_length=2000)
        exact = istft(stft(x), sig_length=2000)
    assert spectrogram.dtype == wave.dtype == torch.float32
    assert (exact - x).abs().max() < 1e-5


def test_sqrt_hann_squares_to_hann_and_overlaps_to_a_constant():
    window = sqrt_hann_window(400).square()
    assert torch.allclose(window, torch.hann_window(400), atol=1e-6)
    assert torch.allclose(
        window.view(4, 100).sum(0), torch.tensor(2.0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvSTFT(16000, hop_length=30), r"\(480 samples\).*400"),
        (lambda: ConvSTFT(16000, n_fft=256), r"win_length \(400\).*256"),
        (lambda: ConvISTFT(16000, synthesis="x"), "inverse_fft, pseudo_inv"),
    ],
)
def test_wrong_options_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e-12, 1.0, 1e12])
def test_modulus_and_phase_have_finite_gradients(scale):
    z = (scale * torch.tensor([[3.0, 4.0], [0.0, 0.0]])).requires_grad_()
    assert torch.allclose(
        magnitude(z), torch.tensor([5.0, 0.0]) * scale, atol=2e-15
    )
    assert (magnitude(unit_phase(z)) < 1 + 1e-6).all()
    (magnitude(z).sum() + unit_phase(z).sum()).backward()
    assert z.grad.isfinite().all()
