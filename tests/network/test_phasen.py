"""The network: sizes, identity, padding, gradients, silence, export."""

import numpy as np
import pytest
import soundfile as sf
import torch
from helpers.signals import noise
from speechbrain.lobes.models.dual_path import SepformerWrapper
from torch.export._patches import register_lstm_while_loop_decomposition

from phasen_sb import PHASEN, ConvISTFT, ConvSTFT
from phasen_sb.data import sample_corpus

PAPER = {
    "amplitude_channels": 96,
    "phase_channels": 48,
    "recurrent_units": 600,
    "long_skips": False,
    "attention": "bin",
    "phase_stem_kernels": [[5, 3], [25, 1]],
    "phase_kernels": [[5, 3], [25, 1]],
    "phase_norm_first": True,
}
SMALL = {
    "amplitude_channels": 4,
    "phase_channels": 3,
    "recurrent_units": 5,
    "dense_units": 9,
    "attention_channels": 2,
}
# Every option once, in company that differs from the others'.
VARIANTS = {
    "seed": {},
    "paper": PAPER | {"phase_norm": "frame", "phase_input": "unit"},
    "paper_global": PAPER,
    "unbiased": {"phase_norm": "global_unbiased", "recurrent": "gru"},
    "softplus": {"mask_activation": "softplus", "phase_input": "unit"},
    "input_share": {"input_share": 0.2},
    "default": {"initialization": "default", "blocks": 1},
    "no_ftb": {"frequency_transform": False},
    "no_a2p": {"amplitude_to_phase": False},
    "no_p2a": {"phase_to_amplitude": False, "attention": "bin"},
    "no_exchange": {"amplitude_to_phase": False, "phase_to_amplitude": False},
    "steady": {"initialization": "steady", "input_power": 0.3},
    "neighbours": {"filter_kernel": [3, 5], "phase_norm": "frame"},
    "bands": {"band_bins": 4, "phase_norm": "frame"},
    "limited_attention": {"attention_limit": 0.3, "phase_norm": "frame"},
    "bands_one_stream": {"band_bins": 3, "two_streams": False},
    "bands_gru": {"band_bins": 5, "recurrent": "gru"},
    "one_stream": {"two_streams": False},
    "one_stream_gru": {"two_streams": False, "recurrent": "gru"},
    "one_stream_share": {"two_streams": False, "input_share": 0.2},
}
variants = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def small(n_fft=16, **options):
    torch.manual_seed(0)
    network = PHASEN(n_fft=n_fft, **{**options, **SMALL})
    if network.neighbour_filter is not None:  # it starts at zero
        torch.nn.init.normal_(network.neighbour_filter.conv.weight, 0, 0.2)
    return network


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 8_774_935),
        ({"recurrent": "gru"}, 7_360_135),
        ({"band_bins": 4}, 2_320_591),
        (PAPER, 34_851_571),
    ],
)
def test_parameter_counts(options, expected):
    with torch.device("meta"):
        net = PHASEN(**options)
    assert sum(p.numel() for p in net.parameters()) == expected


def si_sdr(estimate, target):
    estimate, target = (
        x.double().numpy() - x.double().mean().item()
        for x in (estimate, target)
    )
    scaled = (estimate @ target) / (target @ target) * target
    error = estimate - scaled
    return 10 * np.log10((scaled @ scaled) / (error @ error))


def real_speech(hop):
    """Two noisy utterances of the sample corpus, at the enhancer's level."""
    files = sorted(sample_corpus().glob("noisy_trainset*/*.flac"))[:2]
    waves = [sf.read(file, dtype="float32")[0][8000:16000] for file in files]
    waves = torch.tensor(np.stack(waves))
    waves = waves / waves.square().mean(1, keepdim=True).sqrt()
    geometry = {"win_length": 25, "hop_length": hop, "n_fft": 512}
    stft, istft = ConvSTFT(16000, **geometry), ConvISTFT(16000, **geometry)
    return waves, stft(waves), lambda s: istft(s, sig_length=8000)


def assert_returns_its_input(net, hop):
    waves, spectrogram, inverse = real_speech(hop)
    for mode in (True, False):
        net.train(mode)
        with torch.no_grad():
            out = net(spectrogram)
        for estimate, wave in zip(inverse(out.spectrogram), waves, strict=True):
            assert si_sdr(estimate, wave) >= 20


def test_untrained_seed_network_returns_its_input():
    torch.manual_seed(0)
    assert_returns_its_input(PHASEN(), hop=6.25)


UNTRAINED = "paper paper_global softplus no_exchange steady one_stream"


@pytest.mark.parametrize("name", UNTRAINED.split())
def test_untrained_variants_return_their_input(name):
    options = VARIANTS[name]
    width = {"amplitude_channels": 12, "phase_channels": 6, "dense_units": 60}
    torch.manual_seed(0)
    net = PHASEN(**{**options, **width, "recurrent_units": 20})
    assert_returns_its_input(net, hop=10 if "paper" in name else 6.25)


def amplify(initialization):
    """How much stronger activations get if the network's input is doubled.

    Measured behind the last block, in evaluation mode, relative to statistics
    of that input.
    """
    torch.manual_seed(0)
    net = PHASEN(32, 8, 4, initialization=initialization, recurrent_units=4)
    x = noise(2, 40, 17, 2)
    norm = net.blocks[-1].amplitude[-1].join.norm
    seen = []
    norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].std()))
    with torch.no_grad():
        for _ in range(60):
            net(x)
        net.eval()(x)
        net(2 * x)
    return float(seen[-1] / seen[-2])


def test_steady_attention_does_not_amplify_strong_input_without_bound():
    assert amplify("identity") > 50
    assert 1.5 < amplify("steady") < 8
    with torch.no_grad():
        net = PHASEN(32, 8, 4, initialization="steady", recurrent_units=4)
        norm = net.blocks[0].amplitude[0].weigh.norm
        norm.weight.fill_(3.0)
        norm.reset_parameters()
    assert torch.equal(norm.weight, torch.full((8,), 0.1))
    assert torch.equal(norm.bias, torch.ones(8))


def test_default_initialisation_is_no_identity():
    waves, spectrogram, inverse = real_speech(10)
    net = PHASEN(initialization="default", amplitude_channels=4).eval()
    with torch.no_grad():
        estimate = inverse(net(spectrogram).spectrogram)
    assert si_sdr(estimate[0], waves[0]) < 10


@variants
def test_output_is_magnitude_times_mask_times_unit_phase(options):
    net = small(**options).eval()
    if net.neighbour_filter is not None:  # which would add to it
        net.neighbour_filter.conv.reset_parameters()
    x = noise(2, 12, 9, 2)
    out = net(x)
    spectrogram = torch.view_as_complex(out.spectrogram.contiguous())
    noisy = torch.view_as_complex(x)
    phase = torch.view_as_complex(out.phase.contiguous())
    assert torch.allclose(phase.abs(), torch.ones(2, 12, 9), atol=1e-4)
    if options.get("two_streams", True):
        assert out.mask.shape == (2, 12, 9) and (out.mask > 0).all()
        expected = noisy.abs() * out.mask * phase
    else:
        expected = noisy * torch.view_as_complex(out.mask.contiguous())
    share = options.get("input_share", 0)
    expected = (1 - share) * expected + share * noisy
    assert torch.allclose(spectrogram, expected, atol=1e-5)


@variants
def test_padding_never_leaks(options):
    net = small(**options)
    for _ in range(2):  # running statistics of some data
        net(noise(4, 20, 9, 2) + 0.5)
    net.eval()
    frames = [40, 27, 1]
    x = noise(3, 40, 9, 2, seed=2)
    with torch.no_grad():
        out = net(x, torch.tensor(frames) / 40)
        for i, count in enumerate(frames):
            alone = net(x[i : i + 1, :count])
            for padded, lone in zip(out, alone, strict=True):
                assert torch.allclose(padded[i, :count], lone[0], atol=1e-5)
            assert (out.spectrogram[i, count:].abs() < 1e-12).all()


def test_padding_never_leaks_in_training():
    """Batch norm sees the valid frames of the batch, whatever is behind."""
    x, target = noise(2, 30, 9, 2), noise(2, 30, 9, 2, seed=2)
    results = []
    for padding in (0, 10):
        net = small().train()
        x[1, 15:] = 10 * padding
        wider = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, padding))
        lengths = torch.tensor([30, 15]) / wider.shape[1]
        out = net(wider, lengths).spectrogram
        first, second = out[0, :30] - target[0], out[1, :15] - target[1, :15]
        (first.square().sum() + second.square().sum()).backward()
        gradients = [p.grad for p in net.parameters()]
        results.append([first, second, *gradients, *net.buffers()])
    for one, other in zip(*results, strict=True):
        scale = one.detach().abs().max().clamp(min=1)
        assert torch.allclose(one, other, atol=1e-4 * scale)


@variants
def test_every_parameter_learns(options):
    net = small(**options).train()
    x = noise(2, 12, 9, 2)
    target = noise(2, 12, 9, 2, seed=2)
    loss = (net(x, torch.tensor([1.0, 0.75])).spectrogram - target).square()
    loss.mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.dim() > 1:  # biases before a batch norm have none
            assert parameter.grad.any(), name


def test_phase_stream_parameters_are_the_phase_streams():
    net = small()
    names = {id(p): name for name, p in net.named_parameters()}
    stream = [names[id(p)] for p in net.phase_stream_parameters()]
    assert len(stream) == len(set(stream))
    expected = {
        name
        for name in names.values()
        if "phase" in name and "phase_to_amplitude" not in name
    }
    assert set(stream) == expected
    assert not list(small(two_streams=False).phase_stream_parameters())


SIGNALS = {
    "silence": torch.zeros(2, 12, 9, 2),
    "half_silent": torch.stack([torch.zeros(12, 9, 2), noise(12, 9, 2)]),
    "dc": torch.zeros(2, 12, 9, 2).index_fill(2, torch.tensor(0), 3.0),
    "impulse": torch.zeros(2, 12, 9, 2).index_fill(1, torch.tensor(5), 1.0),
    "one_frame": noise(1, 1, 9, 2),
    "one_frame_each": noise(2, 1, 9, 2),
    "loud": 1e4 * noise(2, 12, 9, 2),
}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["seed", "paper", "softplus", "one_stream"])
def test_extreme_signals_stay_finite(name, precision):
    net = small(**VARIANTS[name])
    for signal, x in SIGNALS.items():
        x = x.clone().requires_grad_()
        for mode in (True, False):
            net.train(mode).zero_grad()
            autocast = torch.autocast(
                "cpu", precision, enabled=precision != torch.float32
            )
            with autocast:
                out = net(x, torch.ones(len(x)) if mode else None)
            out.spectrogram.square().sum().backward()
            assert out.spectrogram.dtype == torch.float32
            assert all(o.isfinite().all() for o in out), signal
            assert x.grad.isfinite().all(), signal
            for parameter_name, parameter in net.named_parameters():
                assert parameter.grad.isfinite().all(), (signal, parameter_name)
    assert all(buffer.isfinite().all() for buffer in net.buffers())


def reset_layer_recursively(module):
    """SpeechBrain's own function of that name."""
    wrapper = SepformerWrapper.__new__(SepformerWrapper)
    SepformerWrapper.reset_layer_recursively(wrapper, module)


@pytest.mark.parametrize(
    "name", ["seed", "paper", "neighbours", "one_stream", "bands"]
)
def test_reset_leaves_the_initialisation_and_a_trainable_network(name):
    net = small(**VARIANTS[name])
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            tensor.fill_(0.123)
    reset_layer_recursively(net)
    assert not any((tensor == 0.123).any() for tensor in net.parameters())
    x = noise(2, 30, 9, 2)
    with torch.no_grad():
        error = net.eval()(x).spectrogram - x
    assert error.square().sum() < 0.1 * x.square().sum()
    optimizer = torch.optim.Adam(net.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = (net(x).spectrogram - 0.5 * x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", ["seed", "neighbours", "one_stream", "bands"])
def test_exports_with_any_number_of_frames(name):
    net = small(**VARIANTS[name] | {"blocks": 1}).eval()
    # PyTorch's own means to keep an LSTM's time axis dynamic.
    with register_lstm_while_loop_decomposition(), torch.no_grad():
        exported = torch.export.export(
            net,
            (noise(1, 21, 9, 2),),
            dynamic_shapes=({1: torch.export.Dim.DYNAMIC},),
        ).module()
    for count in (2, 21, 50):
        x = noise(1, count, 9, 2, seed=count)
        for ours, theirs in zip(exported(x), net(x), strict=True):
            # Laid out otherwise in memory, sums are rounded otherwise.
            assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initialization": "zero"}, "initialization is 'zero'.*identity"),
        ({"phase_input": "polar"}, "phase_input is 'polar'; .*complex, unit"),
        ({"n_fft": 511}, "n_fft is 511; it must be even"),
        ({"phase_channels": 1}, "phase_channels is 1"),
        ({"input_share": 1}, "input_share is 1; it must be from 0 to below 1"),
        ({"filter_kernel": [2, 3]}, r"filter_kernel is \[2, 3\]; .*odd"),
        (
            {"filter_kernel": [3, 3], "two_streams": False},
            r"filter_kernel is \[3, 3\], but there is no phase stream",
        ),
        ({"attention_limit": 0}, "attention_limit is 0; it must be above 0"),
        ({"band_bins": 0}, "band_bins is 0; it must be from 1 to the 257 bins"),
        ({"band_bins": 300}, "band_bins is 300; .*257"),
        ({"amplitude_channels": -4}, "amplitude_channels is -4.*at least 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PHASEN(**options)


@pytest.mark.parametrize("shape", [(2, 12, 8, 2), (12, 9, 2), (2, 12, 9)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match=r"\[batch, frames, 9, 2\], got \["):
        small()(torch.zeros(shape))
