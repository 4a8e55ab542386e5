"""FrameStep computes what the network's modules do, frame by frame."""

import pytest
import torch

from phasen_sb import PHASEN
from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.frame_step import FrameStep

SMALL = {
    "n_fft": 32,
    "amplitude_channels": 4,
    "phase_channels": 3,
    "recurrent_units": 5,
    "dense_units": 9,
    "attention_channels": 2,
    "phase_norm": "frame",
    "initialization": "default",
    "causal": True,
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lookahead_frames": 3, "phase_input": "unit", "input_power": 0.3},
        {"phase_norm_first": True, "mask_activation": "softplus"},
        {"recurrent": "gru", "attention": "bin", "phase_norm": "none"},
        {"amplitude_to_phase": False, "long_skips": False, "blocks": 2},
        {"phase_to_amplitude": False, "frequency_transform": False},
        {"two_streams": False, "input_share": 0.01},
        {"filter_kernel": (3, 5), "lookahead_frames": 1},
        {"filter_kernel": (1, 3)},
        {"band_bins": 4, "attention_limit": 0.5},
    ],
)
def test_frames_come_out_as_those_of_the_network(options):
    torch.manual_seed(0)
    network = PHASEN(**SMALL | options).eval()
    if network.neighbour_filter is not None:
        network.neighbour_filter.conv.weight.data.normal_()
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    step = FrameStep(network)
    spectrogram = torch.randn(2, 40, 17, 2)
    expected, _ = network.step(spectrogram)
    states, frames = None, []
    for frame in spectrogram.unbind(1):
        enhanced, states = step(frame, states)
        frames.append(enhanced)
    difference = (torch.stack(frames, 1) - expected.spectrogram).abs()
    assert expected.spectrogram.abs().max() > 0.1
    # Where the phase's modulus almost vanishes, rounding is amplified.
    assert difference.median() < 1e-6 and difference.max() < 1e-4


def test_networks_that_see_the_future_are_refused():
    with pytest.raises(ValueError, match="not causal.*causal: True"):
        FrameStep(PHASEN(**SMALL | {"causal": False}))
