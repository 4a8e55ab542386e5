"""Causal networks: what they see, and that steps add up to the whole."""

import pytest
import torch
from helpers.signals import noise

from phasen_sb import PHASEN, FrequencyTransformBlock, TwoStreamBlock
from phasen_sb.network.layers import Conv2d

LIVE = {
    "n_fft": 16,
    "amplitude_channels": 4,
    "phase_channels": 3,
    "recurrent_units": 5,
    "dense_units": 9,
    "attention_channels": 2,
    "phase_norm": "frame",
    "phase_norm_first": True,
    "initialization": "default",
    "causal": True,
}
VARIANTS = {
    "live": {"lookahead_frames": 2, "input_power": 0.3, "phase_input": "unit"},
    "no look-ahead": {"attention": "bin", "long_skips": False},
    "gru": {"lookahead_frames": 5, "recurrent": "gru", "phase_norm": "none"},
    "one stream": {"two_streams": False, "lookahead_frames": 1},
    "neighbours": {"filter_kernel": [3, 3], "lookahead_frames": 2},
    "bands": {
        "band_bins": 4,
        "lookahead_frames": 1,
        "attention_limit": 0.5,
    },
    "bands of grus": {"band_bins": 2, "recurrent": "gru", "two_streams": False},
    "no transform": {"frequency_transform": False, "input_share": 0.2},
}
variants = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def build(**options):
    """A network whose norms have seen some data."""
    torch.manual_seed(0)
    network = PHASEN(**{**LIVE, **options})
    with torch.no_grad():
        network(noise(4, 20, 9, 2) + 0.5)
    if network.neighbour_filter is not None:  # it starts at zero
        torch.nn.init.normal_(network.neighbour_filter.conv.weight, 0, 0.2)
    return network.eval()


@variants
def test_it_sees_the_look_ahead_and_no_later_frame(options):
    network = build(**options)
    x = noise(1, 60, 9, 2, seed=3)
    changed = x.clone()
    changed[:, 40:] = noise(1, 20, 9, 2, seed=4)
    with torch.no_grad():
        one, other = (network(each).spectrogram[0] for each in (x, changed))
    first = 40 - options.get("lookahead_frames", 0)
    differ = (one != other).flatten(1).any(1)
    assert not differ[:first].any()
    assert differ[first]


@variants
@pytest.mark.parametrize("sizes", [[1] * 40, [3, 1, 20, 16], [40]])
def test_steps_add_up_to_the_whole(options, sizes):
    network = build(**options)
    late = options.get("lookahead_frames", 0)
    x = noise(2, 40, 9, 2, seed=5)
    frames = [*x.split(sizes, 1), *[torch.zeros(2, 1, 9, 2)] * late]
    states, steps = None, []
    with torch.no_grad():
        expected = network(x)
        for step in frames:
            output, states = network.step(step, states)
            steps.append(output)
    assert (steps[0].spectrogram[:, :late].abs() < 1e-12).all()
    for parts, whole in zip(zip(*steps, strict=True), expected, strict=True):
        joined = torch.cat(parts, 1)[:, late:]
        assert torch.allclose(joined, whole, atol=1e-5)


@variants
def test_training_and_padding(options):
    """Both ways to compute a causal kernel agree, and padding never leaks."""
    network = build(**options)
    x = noise(2, 30, 9, 2, seed=6)
    lengths = torch.tensor([1.0, 0.5])
    with torch.no_grad():
        whole = network(x, lengths).spectrogram
        alone = network(x[1:, :15]).spectrogram
        for layer in network.modules():
            if isinstance(layer, Conv2d):
                layer.training = True
        trained = network(x, lengths).spectrogram
    assert torch.allclose(whole[1, :15], alone[0], atol=1e-5)
    assert (whole[1, 15:].abs() < 1e-12).all()
    assert torch.allclose(whole, trained, atol=1e-5)


@pytest.mark.parametrize("late", [0, 3, 6])
def test_untrained_it_returns_its_input(late):
    torch.manual_seed(0)
    wide = {"amplitude_channels": 12, "phase_channels": 6, "dense_units": 60}
    network = PHASEN(
        **{**LIVE, **wide, "initialization": "identity"},
        lookahead_frames=late,
    )
    x = noise(2, 40, 9, 2)
    with torch.no_grad():
        error = network.eval()(x).spectrogram - x
    assert error.square().sum() < 0.1 * x.square().sum()


@pytest.mark.parametrize("kind", [FrequencyTransformBlock, TwoStreamBlock])
def test_blocks_alone_see_the_past(kind):
    sizes = (4,) if kind is FrequencyTransformBlock else (4, 3)
    options = {} if len(sizes) == 1 else {"phase_norm": "frame"}
    block = kind(*sizes, n_bins=9, causal=True, **options).eval()
    x = [noise(1, size, 30, 9) for size in sizes]
    cut = [each[:, :, :20] for each in x]
    with torch.no_grad():
        outs, expected = block(*x), block(*cut)
    if len(sizes) == 1:
        outs, expected = [outs], [expected]
    for out, wanted in zip(outs, expected, strict=True):
        assert torch.allclose(out[:, :, :20], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase_norm": "global"}, "phase_norm is 'global'.*whole utterance"),
        ({"causal": False, "lookahead_frames": 2}, "set causal to True"),
        ({"lookahead_frames": -1}, "is -1; it must be a whole number from 0"),
        ({"lookahead_frames": 29}, "is 29; .* to the 28 frames"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PHASEN(**{**LIVE, **options})


def test_only_a_causal_network_steps():
    with pytest.raises(ValueError, match="Only a causal network"):
        PHASEN(n_fft=16, recurrent_units=5).eval().step(noise(1, 2, 9, 2))
