"""Small networks that :func:`phasen_sb.optimize` takes."""

import torch

from phasen_sb import PHASEN, ConvISTFT, ConvSTFT, PhasenEnhancer
from phasen_sb.network.batch_norm import BatchNorm
from phasen_sb.network.blocks import FrequencyTransformBlock
from phasen_sb.network.neighbour_filter import NeighbourFilter

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
    "bands": {"band_bins": 4, "phase_norm": "frame"},
    "bands, one stream": {"band_bins": 5, "two_streams": False},
    "limited": {"attention_limit": 0.05, "phase_norm": "frame"},
    "limited, by bin": {"attention_limit": 0.05, "attention": "bin"},
    "neighbours": {"filter_kernel": [3, 5], "input_share": 0.2},
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
        if isinstance(module, NeighbourFilter):
            torch.nn.init.normal_(module.conv.weight, 0, 0.2)
        if isinstance(module, FrequencyTransformBlock):
            if module.attention_limit is not None:  # far below the weights
                torch.nn.init.constant_(module.weigh.norm.bias, 2)
    return network


def distance(one, other):
    return float((one - other).norm() / one.norm())


def small_enhancer(**options):
    front_end = {"win_length": 2, "hop_length": 1, "n_fft": 32}
    return PhasenEnhancer(
        ConvSTFT(16000, **front_end),
        ConvISTFT(16000, **front_end),
        trained(**options),
    ).eval()
