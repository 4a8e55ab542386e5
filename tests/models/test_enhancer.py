"""From waveform to waveform: lengths, padding, level, SpeechBrain's slots."""

import numpy as np
import pytest
import soundfile as sf
import torch
from speechbrain.inference.enhancement import WaveformEnhancement
from speechbrain.processing.features import ISTFT, STFT

from phasen_sb import (
    PHASEN,
    ConvISTFT,
    ConvSTFT,
    PhasenEnhancer,
    sqrt_hann_window,
)
from phasen_sb.data import sample_corpus
from phasen_sb.signals.level import measure_level

GEOMETRY = {
    "sample_rate": 16000,
    "win_length": 1.5,
    "hop_length": 0.375,
    "n_fft": 32,
    "window_fn": sqrt_hann_window,
}  # window 24, hop 6
FRONT_ENDS = {
    "speechbrain": (STFT, ISTFT, {}),
    "conv": (ConvSTFT, ConvISTFT, {}),
    "uncentred": (ConvSTFT, ConvISTFT, {"center": False}),
}
front_ends = pytest.mark.parametrize("front_end", FRONT_ENDS)


def small(front_end="speechbrain", normalize=True, **options):
    torch.manual_seed(0)
    stft, istft, extra = FRONT_ENDS[front_end]
    network = PHASEN(
        n_fft=32,
        amplitude_channels=4,
        phase_channels=3,
        recurrent_units=5,
        dense_units=9,
        **options,
    )
    return PhasenEnhancer(
        stft(**GEOMETRY, **extra),
        istft(**GEOMETRY, **extra),
        network,
        normalize,
    )


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained_a_bit(enhancer):
    """Weights and statistics that are nobody's defaults."""
    with torch.no_grad():
        for _ in range(3):
            enhancer.train()(noise(4, 500) + 0.3)
        for parameter in enhancer.parameters():
            parameter += 0.05 * noise(*parameter.shape)
    return enhancer.eval()


@front_ends
def test_output_is_as_long_as_the_input(front_end):
    enhancer = small(front_end).eval()
    primes = [37, 53, 101, 211, 503, 997, 1999]
    with torch.no_grad():
        for samples in [*range(1, 34), *primes]:
            x = noise(2, samples)
            wave, spectrogram = enhancer(x)
            assert wave.shape == x.shape
            assert wave.isfinite().all()
            assert spectrogram.shape[2:] == (17, 2)
            relative = torch.tensor([1.0, 0.6])
            assert enhancer(x, relative)[0].shape == x.shape


@front_ends
@pytest.mark.parametrize("normalize", [True, False])
def test_an_utterance_in_a_padded_batch_comes_out_as_alone(
    front_end, normalize
):
    enhancer = trained_a_bit(small(front_end, normalize))
    counts = [997, 640, 331, 24, 1]
    x = noise(5, 997) * torch.tensor([1, 10, 0.1, 1, 1])[:, None]
    for i, count in enumerate(counts):
        x[i, count:] = float("nan")  # whatever is in the padding
    with torch.no_grad():
        waves, spectrograms = enhancer(x, torch.tensor(counts) / 997)
        for i, count in enumerate(counts):
            wave, spectrogram = enhancer(x[i : i + 1, :count])
            scale = x[i, :count].abs().max()
            assert torch.allclose(waves[i, :count], wave[0], atol=1e-5 * scale)
            assert not waves[i, count:].any()
            frames = spectrogram.shape[1]
            assert torch.allclose(
                spectrograms[i, :frames], spectrogram[0], atol=1e-4 * scale
            )
            assert (spectrograms[i, frames:].abs() < 1e-12).all()


def test_lengths_of_one_change_nothing():
    enhancer = trained_a_bit(small())
    x = noise(2, 640)
    with torch.no_grad():
        with_lengths = enhancer(x, torch.ones(2))[0]
        assert torch.allclose(with_lengths, enhancer(x)[0], atol=1e-5)


@pytest.mark.parametrize("decibels", [-60, -17, 20, 60])
def test_gain_in_is_gain_out(decibels):
    enhancer = trained_a_bit(small())
    gain = 10 ** (decibels / 20)
    x = noise(2, 997)
    with torch.no_grad():
        for lengths in (None, torch.tensor([1.0, 500 / 997])):
            for one, other in zip(
                enhancer(x, lengths), enhancer(gain * x, lengths), strict=True
            ):
                error = (other / gain - one).abs().max()
                assert error < 1e-4 * one.abs().max()


def test_without_normalisation_the_level_matters():
    enhancer = trained_a_bit(small(normalize=False))
    x = noise(2, 997)
    with torch.no_grad():
        error = (enhancer(10 * x)[0] / 10 - enhancer(x)[0]).abs().max()
    assert error > 1e-2 * x.abs().max()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6])
def test_level_is_the_rms_without_padding(scale):
    x = noise(2, 100).double()
    x[1, 40:] = 0
    expected = torch.stack([x[0].square().mean(), x[1, :40].square().mean()])
    expected = (expected.sqrt() * scale).float().clamp(min=1e-8)
    actual = measure_level((scale * x).float(), torch.tensor([1.0, 0.4]))
    assert torch.allclose(actual[:, 0], expected, rtol=1e-5)


SIGNALS = {
    "silence": torch.zeros(2, 300),
    "half_silent": torch.stack([torch.zeros(300), noise(300)]),
    "dc": torch.full((2, 300), 0.5),
    "impulse": torch.eye(2, 300),
    "square": torch.sign(torch.sin(0.1 * torch.arange(600))).view(2, 300),
    "faint": 1e-30 * noise(2, 300),
    "one_sample": torch.tensor([[0.3]]),
    "one_silent_sample": torch.zeros(1, 1),
    "one_frame": noise(1, 24),
}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@front_ends
def test_extreme_signals_stay_finite(front_end, precision):
    enhancer = small(front_end)
    autocast = torch.autocast(
        "cpu", precision, enabled=precision != torch.float32
    )
    for name, x in SIGNALS.items():
        for mode in (True, False):
            enhancer.train(mode).zero_grad()
            with autocast:
                wave, spectrogram = enhancer(x, torch.ones(len(x)))
            assert wave.dtype == spectrogram.dtype == torch.float32
            assert wave.isfinite().all(), name
            if not x.any():
                assert wave.abs().max() < 1e-12, name
            (wave.square().sum() + spectrogram.square().sum()).backward()
            for parameter in enhancer.parameters():
                assert parameter.grad.isfinite().all(), name
    assert all(buffer.isfinite().all() for buffer in enhancer.buffers())


def test_bf16_is_near_fp32():
    enhancer = small().eval()
    x = noise(1, 997)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = enhancer(x)[0]
    with torch.no_grad():
        full = enhancer(x)[0]
    assert 0 < (half - full).square().sum() < 1e-2 * full.square().sum()


def test_trainable_front_end_learns_with_the_network():
    stft = ConvSTFT(**GEOMETRY, trainable=True)
    istft = ConvISTFT(**GEOMETRY, trainable=True)
    enhancer = PhasenEnhancer(stft, istft, small().network)
    wave, _ = enhancer(noise(2, 300), torch.tensor([1.0, 0.7]))
    wave.square().sum().backward()
    for parameter in enhancer.parameters():
        assert parameter.grad.isfinite().all()
    assert stft.weight.grad.any() and istft.weight.grad.any()


@pytest.mark.parametrize("shape", [(100,), (1, 2, 100), (2, 0)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match=r"\[batch, samples\] .* got \["):
        small()(torch.zeros(shape))


HYPERPARAMS = """
sample_rate: 16000
audio_normalizer: !new:speechbrain.dataio.preprocess.AudioNormalizer
    sample_rate: !ref <sample_rate>
window: !name:phasen_sb.sqrt_hann_window
enhance_model: !new:phasen_sb.PhasenEnhancer
    stft: !new:speechbrain.processing.features.STFT
        sample_rate: !ref <sample_rate>
        win_length: 1.5
        hop_length: 0.375
        n_fft: 32
        window_fn: !ref <window>
    istft: !new:speechbrain.processing.features.ISTFT
        sample_rate: !ref <sample_rate>
        win_length: 1.5
        hop_length: 0.375
        n_fft: 32
        window_fn: !ref <window>
    network: !new:phasen_sb.PHASEN
        n_fft: 32
        amplitude_channels: 4
        phase_channels: 3
        recurrent_units: 5
        dense_units: 9
modules:
    enhance_model: !ref <enhance_model>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        model: !ref <enhance_model>
"""


def test_serves_waveform_enhancement_from_a_local_folder(tmp_path):
    enhancer = trained_a_bit(small())
    source = tmp_path / "model"
    source.mkdir()
    (source / "hyperparams.yaml").write_text(HYPERPARAMS)
    torch.save(enhancer.state_dict(), source / "model.ckpt")
    served = WaveformEnhancement.from_hparams(
        source=str(source), savedir=str(tmp_path / "cache")
    )
    theirs = served.mods.enhance_model.state_dict()
    for name, tensor in enhancer.state_dict().items():
        assert torch.equal(theirs[name], tensor), name
    speech = sorted(sample_corpus().glob("noisy_testset*/*.flac"))[0]
    x = torch.tensor(sf.read(speech, dtype="float32")[0])[None]
    with torch.no_grad():
        expected, _ = enhancer(x)
    assert torch.allclose(served.enhance_batch(x), expected, atol=1e-6)
    enhanced = served.enhance_file(str(speech), str(tmp_path / "out.wav"))
    assert torch.allclose(enhanced.squeeze(), expected[0], atol=1e-6)

    stereo = np.random.default_rng(0).uniform(-0.3, 0.3, (4800, 2))
    sf.write(tmp_path / "stereo.wav", stereo, 48000)
    served.enhance_file(str(tmp_path / "stereo.wav"), str(tmp_path / "out.wav"))
    info = sf.info(tmp_path / "out.wav")
    assert (info.samplerate, info.channels, info.frames) == (16000, 1, 1600)


@front_ends
def test_saved_and_loaded_it_is_the_same(front_end, tmp_path):
    enhancer = trained_a_bit(small(front_end))
    torch.save(enhancer.state_dict(), tmp_path / "model.ckpt")
    loaded = small(front_end).eval()
    x = noise(1, 500)
    with torch.no_grad():
        assert not torch.equal(loaded(x)[0], enhancer(x)[0])
        loaded.load_state_dict(torch.load(tmp_path / "model.ckpt"))
        assert torch.equal(loaded(x)[0], enhancer(x)[0])
