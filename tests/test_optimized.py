"""The tiled network computes what the plain network computes."""

import pytest
import torch

import phasen_sb
from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
from phasen_sb.norms import BatchNorm
from phasen_sb.optimized import convolution, optimize
from phasen_sb.optimized.network import KEPT_FRAMES, TiledPHASEN

SMALL = {
    "n_fft": 32,
    "amplitude_channels": 24,
    "phase_channels": 12,
    "recurrent_units": 6,
    "dense_units": 20,
    "initialization": "default",
}
OPTIONS = {
    "seed": {},
    "paper": {
        "long_skips": False,
        "attention": "bin",
        "phase_kernels": [[5, 3], [25, 1]],
        "phase_norm": "frame",
        "phase_norm_first": True,
        "phase_input": "unit",
    },
    "whole vectors": {"amplitude_channels": 16, "phase_channels": 5},
    "odd channels": {"amplitude_channels": 5, "phase_channels": 3},
    "one block": {"blocks": 1},
    "unbiased": {"phase_norm": "global_unbiased"},
    "global first": {"phase_norm_first": True},
    "frames first": {"phase_norm": "frame", "phase_norm_first": True},
    "no norm": {"phase_norm": "none"},
    "exchange alone": {"phase_kernels": []},
    "one stream": {"two_streams": False, "input_share": 0.2},
    "no transform": {"frequency_transform": False},
    "no gate to phase": {"amplitude_to_phase": False},
    "no gate to amplitude": {"phase_to_amplitude": False},
    "gru": {"recurrent": "gru"},
    "compressed": {"input_power": 0.3, "mask_activation": "softplus"},
    "input share": {"input_share": 0.2},
}


def trained(**options) -> PHASEN:
    """A network whose batch norms are not trivial."""
    torch.manual_seed(0)
    network = PHASEN(**SMALL | options).eval()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.normal_(module.weight, 1, 0.2)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return network


def distance(one, other):
    return float((one - other).norm() / one.norm())


@torch.inference_mode()
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_equals_the_plain_network(options):
    network = trained(**options)
    tiled = TiledPHASEN(network)
    for frames in (1, 2, 63, 64, 65, 201):
        x = torch.randn(1, frames, 17, 2)
        for ours, plain in zip(tiled(x), network(x), strict=True):
            assert distance(plain, ours) < 2e-5
        bf16 = TiledPHASEN(network, torch.bfloat16)(x)
        assert distance(tiled(x).mask, bf16.mask) < 0.02


@torch.inference_mode()
@pytest.mark.parametrize("name", ["seed", "paper", "odd channels"])
def test_equals_it_where_onednn_is_missing(name, monkeypatch):
    monkeypatch.setattr(convolution, "has_fused", lambda dtype: False)
    network = trained(**OPTIONS[name])
    x = torch.randn(1, 65, 17, 2)
    ours = TiledPHASEN(network)(x).spectrogram
    assert distance(network(x).spectrogram, ours) < 2e-5


@torch.inference_mode()
@pytest.mark.parametrize("tile_frames", [2, 30, 100])
def test_the_size_of_the_tiles_does_not_matter(tile_frames):
    network = trained()
    x = torch.randn(1, 150, 17, 2)
    tiled = TiledPHASEN(network, tile_frames=[tile_frames])
    assert distance(network(x).spectrogram, tiled(x).spectrogram) < 2e-5


@torch.inference_mode()
def test_long_recordings_do_without_kept_stems():
    network = trained(blocks=2)
    x = torch.randn(1, KEPT_FRAMES + 1, 17, 2)
    assert distance(network(x).phase, TiledPHASEN(network)(x).phase) < 2e-5


@torch.inference_mode()
def test_lengths_as_in_the_plain_network():
    network = trained()
    x, lengths = torch.randn(3, 50, 17, 2), torch.tensor([1.0, 0.3, 0.02])
    plain = network(x, lengths).spectrogram
    ours = TiledPHASEN(network)(x, lengths).spectrogram
    assert distance(plain, ours) < 2e-5
    assert not ours[1, 15:].any() and not ours[2, 1:].any()


@torch.inference_mode()
def test_bf16_is_close_to_fp32():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=20)
    ).eval()
    noisy = torch.randn(1, 16000)
    fp32 = optimize(enhancer, "fp32")(noisy)[0]
    assert distance(enhancer(noisy)[0], fp32) < 1e-5
    bf16 = optimize(enhancer, "bf16")(noisy)[0]
    assert 0 < distance(fp32, bf16) < 10 ** (-45 / 20)


@torch.inference_mode()
def test_silence_stays_silence():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=8)
    ).eval()
    assert not optimize(enhancer, "bf16")(torch.zeros(1, 3000))[0].any()


def test_weights_are_copied_and_the_enhancer_left_alone():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), PHASEN(recurrent_units=8)
    )
    fast = phasen_sb.optimize(enhancer, "fp32")
    x = torch.randn(1, 3000)
    before = fast(x)[0]
    with torch.no_grad():
        for parameter in enhancer.parameters():
            parameter.mul_(1.1)
    assert torch.equal(fast(x)[0], before)
    assert enhancer.training
    assert all(p.requires_grad for p in enhancer.network.parameters())
    assert not any(p.requires_grad for p in fast.network.parameters())


def test_says_what_it_cannot_do():
    enhancer = PhasenEnhancer(
        ConvSTFT(16000), ConvISTFT(16000), torch.nn.Identity()
    )
    with pytest.raises(ValueError, match="PhasenEnhancer with a Identity"):
        optimize(enhancer)
    enhancer.network = PHASEN(**SMALL)
    with pytest.raises(ValueError, match="precision is 'fp8'"):
        optimize(enhancer, "fp8")
    enhancer.network.to("meta")
    with pytest.raises(ValueError, match="on meta"):
        optimize(enhancer)
