"""What SpeechBrain's recipes ask of a model, without the recipes."""

import copy
import math
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.inference.enhancement import (
    SpectralMaskEnhancement,
    WaveformEnhancement,
)
from speechbrain.inference.separation import SepformerSeparation
from speechbrain.lobes.models.EnhanceResnet import EnhanceResnet
from speechbrain.processing.features import STFT, spectral_magnitude
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from phasen_sb.adapters.magnitude_mask import convert_mask
from phasen_sb.configuration.reading import find_hparams
from phasen_sb.errors import UserError
from phasen_sb.network.output import PhasenOutput

RATE = 16000
MODELS = find_hparams("hparams/phasen.yaml").resolve().parent / "models"
AMPLITUDE = {
    "amplitude_channels": 4,
    "blocks": 1,
    "recurrent_units": 6,
    "dense_units": 8,
}
BOTH = AMPLITUDE | {"phase_channels": 2}
#: What the stock recipe puts into each fragment's placeholders.
FILLED = {
    "phasen_mask": AMPLITUDE | {"N_fft": 512},
    "phasen_metricgan": AMPLITUDE | {"N_fft": 512},
    "phasen_waveform_map": BOTH,
    "phasen_mtl": BOTH
    | {
        "n_fft": 512,
        "win_length": 32,
        "hop_length": 16,
        "sample_rate": RATE,
        "mask_weight": 0.99,
    },
    "phasen_sepformer": BOTH | {"sample_rate": RATE},
    "phasen_waveform_enhancement": BOTH,
}


class Wire(nn.Module):
    """A network that returns what it is given."""

    def forward(self, spectrogram, lengths=None):
        return PhasenOutput(spectrogram, None, None)


def include(name, folder, **more):
    """Loads a fragment by ``!include:``, as a recipe's YAML does."""
    torch.manual_seed(0)
    lines = [f"    {k}: {v}" for k, v in (FILLED[name] | more).items()]
    path = folder / "recipe.yaml"
    path.write_text(
        "\n".join([f"models: !include:{MODELS / name}.yaml", *lines])
    )
    with open(path) as file:
        return load_hyperpyyaml(file)["models"]


def speech(batch=2, samples=4321):
    return torch.randn(batch, samples, generator=torch.manual_seed(1)) * 0.1


def features(wave):
    stft = STFT(RATE, win_length=32, hop_length=16, n_fft=512)
    return torch.log1p(spectral_magnitude(stft(wave), power=0.5))


def model_of(name, folder):
    """A fragment's model and the arguments that its recipe calls it with."""
    models = include(name, folder)
    wave = speech()
    if name == "phasen_mask":
        return models["model"], (features(wave),), {}
    if name == "phasen_metricgan":
        lengths = {"lengths": torch.tensor([1.0, 0.5])}
        return models["generator"], (features(wave),), lengths
    if name == "phasen_waveform_map":
        return models["model"], (wave.unsqueeze(-1),), {}
    if name == "phasen_sepformer":
        return models["MaskNet"], (models["Encoder"](wave),), {}
    return models["enhance_model"], (wave,), {}


def outputs(result):
    return result if isinstance(result, tuple) else (result,)


def test_every_fragment_is_tested():
    assert {path.stem for path in MODELS.glob("*.yaml")} == set(FILLED)


# ---------------------------------------------------------- all the adapters


@pytest.mark.parametrize("name", FILLED)
def test_trains_in_bf16_from_a_reset_and_wrapped(name, tmp_path, process_group):
    model, arguments, keywords = model_of(name, tmp_path)
    fresh = outputs(copy.deepcopy(model).eval()(*arguments, **keywords))
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.fill_(math.nan)
    reset_layer_recursively(model)
    again = outputs(copy.deepcopy(model).eval()(*arguments, **keywords))
    for one, other in zip(fresh, again, strict=True):
        # Other noise around the same start, near a wire.
        assert (one - other).norm() < 0.2 * one.norm()
    wrapped = DistributedDataParallel(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs(wrapped(*arguments, **keywords))
    loss = sum(x.square().mean() for x in found)
    loss.backward()
    for x in found:
        assert x.dtype == torch.float32 and x.isfinite().all()
    for key, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), key
        assert "Learnable_sigmoid" not in key  # MetricGAN clamps those
    # SyncBatchNorm, which refuses the CPU, replaces no layer of ours.
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())


def reset_layer_recursively(layer):
    """Resets as the recipes of SepFormer's kind do."""
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
    for child in layer.children():
        reset_layer_recursively(child)


@pytest.fixture(scope="module")
def process_group(tmp_path_factory):
    store = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


def test_attributes_under_ddp_are_where_the_stock_model_has_them(
    tmp_path, process_group
):
    ours, _, _ = model_of("phasen_mtl", tmp_path)
    stock = EnhanceResnet(channel_counts=[2], dense_count=0)
    for model in (ours, stock):
        wrapped = DistributedDataParallel(model)
        with pytest.raises(AttributeError):
            wrapped.stft  # noqa: B018
        wave = speech()
        spectrogram = wrapped.module.stft(wave)
        assert wrapped.module.extract_feats(spectrogram).shape == (2, 17, 257)


# ---------------------------------------------------------------- log mask


@pytest.mark.parametrize("value", [0.0, 1e-3, 0.3, 1.0, 2.0])
def test_mask_is_exact_through_log1p(value):
    magnitude = torch.logspace(-9, 4, 200)
    magnitude[0] = 0
    mask = torch.full_like(magnitude, value, requires_grad=True)
    feature = torch.log1p(magnitude)
    factor = convert_mask(mask, feature)
    expected = torch.log1p(value * magnitude)
    assert (factor * feature - expected).abs().max() < 2e-6
    factor.sum().backward()
    assert mask.grad.isfinite().all()


def test_mask_of_a_padded_utterance_is_its_own(tmp_path):
    model = include("phasen_mask", tmp_path)["model"].eval()
    feature = features(speech(1, 6000))
    padded = torch.nn.functional.pad(feature, (0, 0, 0, 10), value=3.0)
    lengths = torch.tensor([feature.shape[1] / padded.shape[1]])
    alone, within = model(feature), model(padded, lengths=lengths)
    assert torch.allclose(alone, within[:, : feature.shape[1]], atol=1e-5)
    # An untrained mask is near one.
    assert (alone - 0.95).abs().max() < 0.1


def test_metricgan_has_the_stock_discriminator(tmp_path):
    models = include("phasen_metricgan", tmp_path)
    feature = features(speech())
    score = models["discriminator"](torch.stack([feature, feature], 1))
    assert score.shape == (2, 1)


def test_mask_refuses_other_shapes(tmp_path):
    model = include("phasen_mask", tmp_path)["model"]
    with pytest.raises(ValueError, match=r"\[batch, frames, 257\].*5, 129"):
        model(torch.rand(2, 5, 129))
    with pytest.raises(ValueError, match="PLACEHOLDER"):
        with open(MODELS / "phasen_mask.yaml") as file:
            load_hyperpyyaml(file)


def from_hparams(cls, name, folder, more):
    """Loads a fragment as a SpeechBrain user's own hyperparams.yaml does."""
    lines = [f"    {key}: {value}" for key, value in FILLED[name].items()]
    include = "\n".join([f"models: !include:{MODELS / name}.yaml", *lines])
    text = f"sample_rate: {RATE}\n{include}\n{more}"
    (folder / "hyperparams.yaml").write_text(text)
    torch.manual_seed(0)
    return cls.from_hparams(str(folder), savedir=str(folder / "save"))


def test_spectral_mask_enhancement_enhances_a_file(tmp_path):
    sizes = "sample_rate: 16000, win_length: 32, hop_length: 16, n_fft: 512"
    front_end = f"{{{sizes}}}"
    enhancer = from_hparams(
        SpectralMaskEnhancement,
        "phasen_mask",
        tmp_path,
        f"""
compute_stft: !new:speechbrain.processing.features.STFT {front_end}
istft: !new:speechbrain.processing.features.ISTFT {front_end}
spectral_magnitude: !name:speechbrain.processing.features.spectral_magnitude
    power: 0.5
resynth: !name:speechbrain.processing.signal_processing.resynthesize
    stft: !ref <compute_stft>
    istft: !ref <istft>
    normalize_wavs: False
modules:
    enhance_model: !ref <models[model]>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
""",
    )
    wave = speech(1, 8000)
    soundfile.write(tmp_path / "noisy.wav", wave[0], RATE, subtype="FLOAT")
    enhanced = enhancer.enhance_file(str(tmp_path / "noisy.wav"))
    assert enhanced.shape == (8000,)
    # Untrained: the input, times the mask's 0.95.
    assert (enhanced - 0.95 * wave[0]).abs().max() < 0.02


# --------------------------------------------------------------- waveforms


def test_waveform_map_is_the_enhancer(tmp_path):
    model, (x,), _ = model_of("phasen_waveform_map", tmp_path)
    model.eval()
    assert torch.equal(model(x)[:, :, 0], model.enhancer(x[:, :, 0])[0])
    with pytest.raises(ValueError, match=r"\[batch, samples, 1\]"):
        model(x[:, :, 0])


def test_mtl_compares_like_with_like(tmp_path):
    models = include("phasen_mtl", tmp_path, mask_weight=0.25)
    model = models["enhance_model"].eval()
    x = speech()
    wave, feats = model(x)
    enhanced, spectrogram = super(type(model), model).forward(x)
    assert torch.allclose(wave, 0.25 * enhanced + 0.75 * x, atol=1e-6)
    mixed = 0.25 * spectrogram + 0.75 * model.stft(x)
    assert torch.allclose(feats, model.extract_feats(mixed), atol=1e-5)
    # The stock model's features of the same frames.
    stock = EnhanceResnet(channel_counts=[2], dense_count=0)
    ours = model.extract_feats(model.stft(x))
    assert ours.shape == stock.extract_feats(stock.stft(x)).shape
    # A wire gives back waveform and features.
    model.network = Wire()
    wave, feats = model(x)
    assert (wave - x).abs().max() < 1e-6 and (feats - ours).abs().max() < 1e-5


# ----------------------------------------------------------------- carrier


@pytest.fixture
def separator(tmp_path):
    return from_hparams(
        SepformerSeparation,
        "phasen_sepformer",
        tmp_path,
        """
num_spks: 1
modules:
    encoder: !ref <models[Encoder]>
    masknet: !ref <models[MaskNet]>
    decoder: !ref <models[Decoder]>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
""",
    )


@pytest.mark.parametrize("samples", [1, 99, 100, 4300, 4321])
def test_carrier_reconstructs(samples, separator):
    separator.mods.masknet.network = Wire()
    x = speech(2, samples) * torch.tensor([[1.0], [1e-3]])
    found = separator.separate_batch(x)
    assert found.shape == (2, samples, 1)
    assert ((found[:, :, 0] - x).abs().amax(1) < 1e-6 * x.abs().amax(1)).all()


def test_carrier_is_exactly_the_enhancer(separator, tmp_path):
    enhancer = include("phasen_waveform_enhancement", tmp_path)["enhance_model"]
    enhancer.network = separator.mods.masknet.network
    x = speech(2, 4300)  # whole hops: the same frames
    expected = enhancer.eval()(x)[0]
    found = separator.separate_batch(x)[:, :, 0]
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()
    # Digital silence stays silent.
    assert separator.separate_batch(torch.zeros(1, 500)).eq(0).all()


# --------------------------------------------------------------- from_hparams


def test_waveform_enhancement_loads_strictly(tmp_path):
    name = "phasen_waveform_enhancement"
    text = (MODELS / f"{name}.yaml").read_text()
    (tmp_path / "hyperparams.yaml").write_text(text)
    trained = include(name, tmp_path)["enhance_model"].eval()
    for weight in trained.parameters():
        nn.init.normal_(weight, std=0.1)
    options = {"savedir": str(tmp_path / "save"), "overrides": BOTH}

    def load(state):
        torch.save(state, tmp_path / "model.ckpt")
        return WaveformEnhancement.from_hparams(str(tmp_path), **options)

    x = speech(1, 5000)
    assert torch.equal(
        load(trained.state_dict()).enhance_batch(x), trained(x)[0]
    )
    state = trained.state_dict()
    del state["network.phase_head.bias"]
    with pytest.raises(UserError, match="network.phase_head.bias"):
        load(state)


def test_yamls_are_installed(tmp_path):
    root = Path(__file__).parents[2]
    build = ["setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run([sys.executable, *build], cwd=root, check=True)

    def yamls(folder):
        return {path.relative_to(folder) for path in folder.rglob("*.yaml")}

    installed = yamls(tmp_path / "phasen_sb" / "hparams")
    assert installed == yamls(root / "hparams")
    assert Path("models", "phasen_mask.yaml") in installed
