"""Stored models of every kind and age load, by every class, to the same."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.small_model import write_small_model
from speechbrain.inference.enhancement import WaveformEnhancement
from speechbrain.utils.fetching import LocalStrategy

import phasen_sb
from phasen_sb import Enhancer, PhasenEnhancer
from phasen_sb.errors import UserError
from phasen_sb.export.folder import write_export
from phasen_sb.models.loading import DEFAULT_MODEL, read_model
from phasen_sb.models.reference import read_reference_checkpoint
from phasen_sb.models.weights import load_initial_state
from phasen_sb.utils.file_names import DESCRIPTION, WEIGHTS

FIXTURES = Path(__file__).parents[1] / "fixtures"
#: Written before modules moved: names ``phasen_sb.export.weights.load_weights``
#: and ``phasen_sb.features.sqrt_hann_window``. With the output it had then.
BEFORE = FIXTURES / "export_before"

NOISY = np.random.default_rng(0).standard_normal(2000).astype("float32") / 10


def enhance_by_speechbrain(folder):
    enhancer = WaveformEnhancement.from_hparams(
        source=str(folder), local_strategy=LocalStrategy.NO_LINK
    )
    return enhancer.enhance_batch(torch.from_numpy(NOISY)[None])[0]


def enhance_by_module(folder):
    with torch.inference_mode():
        enhancer = PhasenEnhancer.from_pretrained(folder)
        return enhancer(torch.from_numpy(NOISY)[None])[0][0]


def enhance_by_enhancer(folder):
    return Enhancer.from_pretrained(folder, "cpu", "fp32").enhance(NOISY, 16000)


@pytest.mark.parametrize(
    "enhance", [enhance_by_speechbrain, enhance_by_module, enhance_by_enhancer]
)
def test_an_old_export_gives_what_it_gave(enhance):
    expected = np.load(BEFORE / "enhanced.npy")
    assert np.abs(expected - NOISY).max() > 0.01, "nothing was enhanced"
    assert np.allclose(enhance(BEFORE), expected, atol=1e-6)


def names_in(folder):
    text = (folder / DESCRIPTION).read_text()
    return set(re.findall(r"phasen_sb\.([\w.]+)", text))


def test_exports_name_public_names_alone(tmp_path):
    assert "export.weights.load_weights" in names_in(BEFORE)
    again = write_export(read_model(BEFORE), tmp_path / "again")
    converted = read_reference_checkpoint(
        {
            key[3:]: torch.tensor(tensor)
            for key, tensor in np.load(FIXTURES / "small.npz").items()
            if key.startswith("sd/")
        }
    )
    for folder in (
        again,
        DEFAULT_MODEL,
        write_small_model(tmp_path / "small"),
        write_export(converted, tmp_path / "converted"),
    ):
        names = names_in(folder)
        assert {"PHASEN", "PhasenEnhancer", "load_weights"} <= names
        assert names <= {*phasen_sb.__all__}
    assert np.array_equal(
        enhance_by_enhancer(again), enhance_by_enhancer(BEFORE)
    )


def test_a_run_is_a_run_whatever_else_it_holds(tmp_path):
    earlier = shutil.copytree(FIXTURES / "earlier" / "run", tmp_path / "run")
    shutil.copy(BEFORE / WEIGHTS, earlier)
    found = read_model(earlier)
    found.build()  # of its own weights
    assert found.settings["seed"] == 1234


def test_an_export_by_hand_may_have_references(tmp_path):
    text = (BEFORE / DESCRIPTION).read_text()
    text = text.replace("n_fft: 128", "n_fft: !ref <bins>") + "\nbins: 128\n"
    (tmp_path / DESCRIPTION).write_text(text)
    shutil.copy(BEFORE / WEIGHTS, tmp_path)
    assert np.array_equal(
        enhance_by_enhancer(tmp_path), enhance_by_enhancer(BEFORE)
    )
    (tmp_path / DESCRIPTION).write_text(text.replace("<bins>", "<bin>"))
    with pytest.raises(UserError, match="yaml describes no enhancer .*bin"):
        Enhancer.from_pretrained(tmp_path)


def test_a_wrong_argument_of_a_network_is_named(tmp_path):
    write_small_model(tmp_path)
    path = tmp_path / DESCRIPTION
    text = path.read_text().replace("blocks: 2", "blocks: one")
    path.write_text(text)
    with pytest.raises(UserError, match=r"blocks of .* is 'one'; it must be"):
        Enhancer.from_pretrained(tmp_path, "cpu", "fp32")
    path.write_text(text.replace("blocks: one", "blocks: 2\n    blocks: 2"))
    with pytest.raises(UserError, match="duplicate key 'blocks'"):
        Enhancer.from_pretrained(tmp_path, "cpu", "fp32")


def test_hub_models_are_fetched(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def fetch(name, allow_patterns):
        assert {DESCRIPTION, WEIGHTS} <= {*allow_patterns}
        if name == "someone/phasen":
            return str(BEFORE)
        raise OSError("No such repository\nin detail")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert Enhancer.from_pretrained("someone/phasen").source == "someone/phasen"
    assert PhasenEnhancer.from_pretrained("someone/phasen").normalize
    with pytest.raises(UserError, match=r"hub gave no .*\(No such re"):
        PhasenEnhancer.from_pretrained("someone/else")
    # Where the folder around it exists, a folder was meant.
    Path("someone", "phases").mkdir(parents=True)
    with pytest.raises(UserError, match="no folder .*mean someone/phases"):
        PhasenEnhancer.from_pretrained("someone/phasen")


def test_another_model_is_no_phasen_enhancer(tmp_path):
    (tmp_path / DESCRIPTION).write_text(
        "sample_rate: 16000\n"
        "enhance_model: !new:phasen_sb.WaveformModel\n"
        "  network: !new:torch.nn.Linear {in_features: 4, out_features: 4}\n"
        "modules: {enhance_model: !ref <enhance_model>}\n"
    )
    network = torch.nn.Linear(4, 4)
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    torch.save(state, tmp_path / WEIGHTS)
    assert Enhancer.from_pretrained(tmp_path, trust=True).sample_rate == 16000
    with pytest.raises(UserError, match="is a WaveformModel, not a Phasen"):
        PhasenEnhancer.from_pretrained(tmp_path, trust=True)


def test_a_training_may_begin_with_another_head():
    sizes = {"n_fft": 32, "amplitude_channels": 4, "phase_channels": 2}
    earlier = phasen_sb.PHASEN(
        **sizes, attention_channels=2, recurrent_units=3, dense_units=5
    ).state_dict()
    network = phasen_sb.PHASEN(**sizes, attention_channels=2, band_bins=4)
    own = {key: x.clone() for key, x in network.state_dict().items()}
    with pytest.raises(UserError, match="another network .*, or init_partly"):
        load_initial_state(network, earlier, "earlier", "this")
    with pytest.raises(UserError, match="'head', which .* amplitude_head, "):
        load_initial_state(network, earlier, "earlier", "this", "head")
    load_initial_state(network, earlier, "earlier", "this", "amplitude_head")
    for name, tensor in network.state_dict().items():
        anew = name.startswith("amplitude_head.bands.")
        assert torch.equal(tensor, (own if anew else earlier)[name]), name
    # What does not fit outside that part is still an error.
    del earlier["phase_head.weight"]
    with pytest.raises(UserError, match=r"lacks 'phase_head\.weight'"):
        load_initial_state(
            network, earlier, "earlier", "this", "amplitude_head"
        )
