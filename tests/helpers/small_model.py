"""Models and helpers for the tests of enhancement."""

import subprocess
import sys

import numpy as np
import soundfile as sf
import torch
from torch import nn

from phasen_sb.data.sample_corpus import sample_corpus
from phasen_sb.export.folder import write_export
from phasen_sb.inference.chunk_plan import ChunkPlan
from phasen_sb.inference.enhancer import Enhancer
from phasen_sb.models.description import Description, describe_object
from phasen_sb.models.loading import StoredModel

SPEECH = sorted((sample_corpus() / "noisy_testset_wav_16k").glob("*.flac"))
FRONT_END = {
    "sample_rate": 16000,
    "win_length": 16,
    "hop_length": 8,
    "n_fft": 256,
}


class Model(nn.Module):
    """What an enhancer looks like to SpeechBrain, around a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, wave):
        return self.function(wave), None


def enhancer_of(function, step=2):
    """An Enhancer whose model is a function of the waveform."""
    enhancer = Enhancer(
        {"enhance_model": Model(function)}, {"sample_rate": 16000}
    )
    enhancer.plan = ChunkPlan(step)
    return enhancer


def write_small_model(folder):
    """A small PHASEN, untrained, as `phasen export` writes it."""
    torch.manual_seed(0)
    enhancer = describe_object(
        "phasen_sb.PhasenEnhancer",
        stft=describe_object("phasen_sb.ConvSTFT", **FRONT_END),
        istft=describe_object("phasen_sb.ConvISTFT", **FRONT_END),
        network=describe_object(
            "phasen_sb.PHASEN",
            n_fft=256,
            amplitude_channels=3,
            phase_channels=3,
            blocks=2,
            recurrent_units=6,
            dense_units=8,
            attention_channels=1,
        ),
    )
    description = Description(enhancer, 16000)
    state = description.build("test").state_dict()
    return write_export(StoredModel(description, state, "test"), folder)


def phasen(*arguments, **options):
    """Runs the command line."""
    return subprocess.run(
        [sys.executable, "-m", "phasen_sb.cli", *map(str, arguments)],
        capture_output=True,
        **options,
    )


def write_noise(path, samples, rate=16000, channels=1, **options):
    """Writes white noise, the same at each call."""
    noise = np.random.default_rng(0).uniform(-1, 1, (samples, channels))
    sf.write(path, noise, rate, **options)
    return path


def decibels(difference, reference):
    """Power of a difference relative to that of a reference."""
    return 10 * np.log10(
        np.square(difference).sum() / np.square(reference).sum()
    )


def names(folder):
    """What lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
