"""Other models of SpeechBrain under PHASEN's protocol."""

import pytest
import torch
from helpers.recipe_process import RECIPE, TINY, finish, refuse, results
from ruamel.yaml import YAML

from phasen_sb.configuration.reading import read_yaml, to_plain
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.export.folder import write_export
from phasen_sb.inference.enhancer import Enhancer
from phasen_sb.models.baselines import LogMagnitudeNetwork, WaveformModel
from phasen_sb.models.enhancer import PhasenEnhancer
from phasen_sb.models.loading import read_model
from phasen_sb.signals.conv_stft import ConvISTFT, ConvSTFT

FOLDER = RECIPE.parents[1] / "hparams" / "baselines"
SMALL = {
    "cnn_transformer_se": "base_channels: 64",
    "enhance_resnet": "channel_counts: [4, 4], dense_nodes: 8",
    "sepformer": "encoder_channels: 16, layers: 1",
}


def build(name, folder):
    text = f"{{output_folder: {folder}, {SMALL[name]}}}"
    return Recipe.read(FOLDER / f"{name}.yaml", text).load()


def test_every_baseline_is_tested():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_enhances_at_any_level_and_length(name, tmp_path):
    hparams = build(name, tmp_path)
    enhancer = hparams["enhancer"].eval()
    x = 0.1 * torch.randn(2, 4321, generator=torch.manual_seed(0))
    wave, spectrogram = enhancer(x)
    assert wave.shape == x.shape and wave.dtype == torch.float32
    if spectrogram is not None:
        torch.testing.assert_close(
            hparams["compute_istft"](spectrogram, sig_length=4321), wave
        )
    torch.testing.assert_close(
        enhancer(100 * x)[0], 100 * wave, rtol=1e-3, atol=1e-3
    )
    lengths = torch.tensor([1.0, 0.5])
    assert enhancer(x, lengths)[0][1, 2161:].eq(0).all()


@pytest.mark.parametrize("name", SMALL)
def test_differs_from_phasen_in_the_model_alone(name):
    def entries(path):
        return to_plain(YAML().load(Recipe.read(path, "data_folder: x").text))

    ours = entries(FOLDER / f"{name}.yaml")
    phasen = entries("hparams/phasen.yaml")
    changed = {key for key in ours if ours[key] != phasen.get(key)}
    written = set(read_yaml(FOLDER / f"{name}.yaml")) - {"base"}
    assert changed == written and changed & {"network", "enhancer"}
    # What only PHASEN reads is gone, so that setting it is an error.
    assert "phase_input" not in ours and "two_streams" not in ours


def test_log_magnitude_network_masks_the_log_magnitude():
    stft, istft = ConvSTFT(16000), ConvISTFT(16000)

    class Half(torch.nn.Module):
        def forward(self, features):
            return torch.full_like(features, 0.5)

    network = LogMagnitudeNetwork(Half())
    enhancer = PhasenEnhancer(stft, istft, network, normalize=False)
    x = torch.randn(2, 4000)
    spectrogram = enhancer(x)[1]
    noisy = stft(x)
    torch.testing.assert_close(
        spectrogram.norm(dim=-1),
        (1 + noisy.norm(dim=-1)).sqrt() - 1,
        rtol=1e-4,
        atol=1e-4,
    )
    # The noisy phase: parallel to the noisy spectrogram.
    cross = noisy[..., 0] * spectrogram[..., 1]
    cross -= noisy[..., 1] * spectrogram[..., 0]
    assert cross.abs().max() < 1e-3


@pytest.mark.parametrize(
    "change", [lambda y: y[:, :-7], lambda y: (y.unsqueeze(2), None)]
)
def test_waveform_model_mends_lengths_and_shapes(change):
    class Model(torch.nn.Module):
        def forward(self, x):
            return change(0.5 * x)

    x = torch.randn(2, 100)
    wave, _ = WaveformModel(Model(), padding=7)(x)
    torch.testing.assert_close(wave, 0.5 * x)


@pytest.mark.parametrize(
    "change, shape",
    [
        (lambda y: torch.stack([y, y], 2), r"\[2, 100, 2\]"),
        (lambda y: y.unsqueeze(1), r"\[2, 1, 100\]"),
        (lambda y: y[:1], r"\[1, 100\]"),
    ],
)
def test_waveform_model_wants_one_waveform_each(change, shape):
    class Model(torch.nn.Module):
        def forward(self, x):
            return change(x)

    message = rf"\[batch, samples, 1\].*gave {shape}.*masknet_numspks: 1"
    with pytest.raises(UserError, match=message):
        WaveformModel(Model())(torch.randn(2, 100))


# ------------------------------------------------------------ as a user runs


def test_trains_resumes_exports_and_enhances(tmp_path, voicebank):
    options = {
        "yaml": "hparams/baselines/enhance_resnet.yaml",
        "data_folder": voicebank,
        "network": None,
        "channel_counts": "[4, 4]",
        "dense_nodes": 8,
        "metrics": "[pesq_wb]",
        "pictured_utterances": 0,
        "number_of_epochs": 1,
    }
    folder = finish(tmp_path, **options)
    assert folder == tmp_path / "results" / "enhance_resnet" / "1234"
    assert results(folder)["test"]["enhanced"]["pesq_wb"] > 1
    assert results(folder)["optimizer_steps"] == 1
    finish(tmp_path, **options | {"number_of_epochs": 2})
    log = (folder / "train_log.txt").read_text()
    assert log.count("epoch: 1,") == log.count("epoch: 2,") == 1
    sentence = refuse(tmp_path, **options, phase_input="unit")
    assert "no key 'phase_input'" in sentence

    exported = write_export(read_model(folder), tmp_path / "model")
    enhancer = Enhancer.from_pretrained(exported, "cpu", "fp32")
    noisy = torch.randn(5000, dtype=torch.float64)
    model = enhancer.mods.enhance_model
    expected = model(noisy[None].float())[0][0].double()
    found = enhancer.enhance(noisy, 16000)
    assert (found - expected).abs().max() < 1e-4


def test_object_on_the_command_line_replaces(tmp_path):
    def load(text):
        text = f"{{output_folder: {tmp_path}, {text}}}"
        return Recipe.read("hparams/phasen.yaml", text).load()

    network = load(
        "network: !new:torch.nn.Linear {in_features: 2, out_features: 3}"
    )["network"]
    assert (network.in_features, network.out_features) == (2, 3)
    # The sample's value for what only the old object read is gone, too.
    cost = "!new:phasen_sb.Objective {a: {loss: !name:torch.dist }}"
    assert "power" not in load(f"compute_cost: {cost} ")
    # Without a tag, arguments go into the object that is there.
    small = load(f"network: {TINY}")["network"]
    assert small.amplitude_stem[0].conv.out_channels == 4


def test_missing_base_is_named(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("base: gone.yaml\nlr: 1")
    with pytest.raises(UserError, match="mine.yaml is based on .*gone.yaml"):
        Recipe.read(mine)
