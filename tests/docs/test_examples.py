"""The Python and YAML of the pages does what they say."""

import re
import shutil

import pytest
from helpers.causal_model import write_live_model
from helpers.pages import MODEL_CARD, PAGES, ROOT, fenced, page_name
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from torch import nn

from phasen_sb import Objective, SpectralLoss

SWAP = ROOT / "docs" / "swap.md"
FRAGMENTS = ROOT / "hparams" / "models"


def examples(language):
    return [
        pytest.param(text, id=f"{page_name(page)}-{number}")
        for page in PAGES
        for number, text in enumerate(fenced(page, language))
    ]


def leaves(node):
    """The weights that a result was computed from."""
    found, seen, ahead = [], set(), [node]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        ahead += [function for function, _ in node.next_functions]
    return found


@pytest.mark.parametrize("code", examples("python"))
def test_python_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(MODEL_CARD.parent, "my_model")
    write_live_model("my_live_model")
    sample = ROOT / "phasen_sb" / "data" / "sample" / "noisy_testset_wav_16k"
    shutil.copy(sample / "p232_001.flac", "noisy.wav")  # by its content
    exec(code, {})


@pytest.mark.parametrize(
    "code", [code for code in fenced(SWAP, "python") if "nn.Module" in code]
)
def test_blocks_learn(code):
    names = {}
    exec(code, names)
    found = names["mask"] if "mask" in names else names["speech"]
    assert found.shape[0] == 2 and found.shape[-1] == 257
    found.square().sum().backward()
    weights = leaves(found.grad_fn)
    assert len(weights) > 5
    for weight in weights:
        assert weight.grad.isfinite().all()
        assert weight.ndim == 1 or weight.grad.any()


@pytest.mark.parametrize("text", examples("yaml"))
def test_yaml_is_valid(text):
    assert YAML().load(text)


def test_yaml_of_losses_loads():
    costs = [
        load_hyperpyyaml(text)["compute_cost"]
        for page in PAGES
        for text in fenced(page, "yaml")
        if "compute_cost" in text
    ]
    assert {type(cost) for cost in costs} == {Objective, SpectralLoss}
    [objective] = [cost for cost in costs if isinstance(cost, Objective)]
    assert list(objective.terms) == ["compressed", "si_snr", "distance"]


def test_fragments_named_are_there():
    text = SWAP.read_text(encoding="utf-8")
    named = set(re.findall(r"`(phasen_\w+\.yaml)`", text))
    assert named == {path.name for path in FRAGMENTS.glob("*.yaml")}


@pytest.mark.parametrize(
    ("entry", "fragment", "part", "line"),
    [
        ("models", "phasen_mask", "model", "N_fft: 512"),
        ("models", "phasen_metricgan", "generator", "N_fft: 512"),
        ("models", "phasen_sepformer", "MaskNet", "sample_rate: 16000"),
        ("enhance_model", "phasen_mtl", "enhance_model", "n_fft: 512"),
        ("MaskNet", "phasen_mask", "model", "N_fft: 512"),
        ("models", "phasen_waveform_map", "model", ""),
    ],
)
def test_sizes_are_set_as_the_page_says(tmp_path, entry, fragment, part, line):
    """Stock recipes have such entries; that of waveform_map has one line."""
    shutil.copytree(FRAGMENTS, tmp_path / "models")
    size = "amplitude_channels: 6"

    def channels(lines, overrides=None):
        path = tmp_path / "recipe.yaml"
        entries = [f"{entry}: !include:models/{fragment}.yaml", *lines]
        path.write_text("\n    ".join(entries))
        with open(path) as file:
            model = load_hyperpyyaml(file, overrides)[entry][part]
        first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
        return first.out_channels

    below = [line] if line else []
    assert channels([*below, size]) == 6
    option = f"{entry}: {{{size}}}"
    if line:
        assert channels(below, option) == 6
    else:
        with pytest.raises(ValueError, match="structure of the overrides"):
            channels(below, option)
