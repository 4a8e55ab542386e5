"""A small causal enhancer at 4 kHz, with a hop of 64 samples."""

import torch
from speechbrain.processing import features

import phasen_sb
from phasen_sb import PHASEN, PhasenEnhancer
from phasen_sb.export.folder import write_export
from phasen_sb.models.description import Description, describe_object
from phasen_sb.models.loading import StoredModel

FRONT_ENDS = {
    "speechbrain": (features.STFT, phasen_sb.ISTFT),
    "convolutions": (phasen_sb.ConvSTFT, phasen_sb.ConvISTFT),
}


def build(front_end, late=2, win_length=32, normalize="running", hop_length=16):
    torch.manual_seed(0)
    sizes = {"win_length": win_length, "hop_length": hop_length, "n_fft": 128}
    # Where frames do not overlap, no value of the window may be zero.
    window = phasen_sb.sqrt_hann_window
    sizes["window_fn"] = torch.ones if win_length == hop_length else window
    stft, istft = (kind(4000, **sizes) for kind in FRONT_ENDS[front_end])
    network = PHASEN(
        n_fft=128,
        amplitude_channels=4,
        phase_channels=3,
        recurrent_units=5,
        dense_units=9,
        phase_norm="frame",
        input_power=0.5,
        initialization="default",
        causal=True,
        lookahead_frames=late,
    )
    return PhasenEnhancer(stft, istft, network, normalize).eval()


def write_live_model(folder):
    """A small causal model at 16 kHz, untrained, as exports are written."""
    front_end = {"sample_rate": 16000, "win_length": 32, "hop_length": 16}
    description = Description(
        describe_object(
            "phasen_sb.PhasenEnhancer",
            stft=describe_object("phasen_sb.ConvSTFT", **front_end),
            istft=describe_object("phasen_sb.ConvISTFT", **front_end),
            network=describe_object(
                "phasen_sb.PHASEN",
                amplitude_channels=3,
                phase_channels=3,
                recurrent_units=6,
                dense_units=8,
                phase_norm="frame",
                initialization="default",  # changes all that it is given
                causal=True,
                lookahead_frames=1,
            ),
            normalize="running",
        ),
        16000,
    )
    torch.manual_seed(0)
    state = description.build("test").state_dict()
    return write_export(StoredModel(description, state, "test"), folder)
