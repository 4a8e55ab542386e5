"""YAML files that are based on others."""

import pytest
from helpers.recipe_process import RECIPE

from phasen_sb.configuration.reading import read_yaml
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError

HPARAMS = RECIPE.parents[1] / "hparams"
BASED = f"base: {HPARAMS / 'phasen.yaml'}\n"
NETWORK = """
network: !new:phasen_sb.PHASEN
    n_fft: !ref <n_fft>
    blocks: 1
    recurrent_units: 8
    dense_units: 16
"""


def load(folder, text, options="", name="mine.yaml"):
    """Writes a YAML, and loads it as the recipe does."""
    path = folder / name
    path.write_text(text)
    return Recipe.read(path, options).load()


def test_object_replaces_another_as_a_whole():
    given = "{network: !new:phasen_sb.PHASEN {blocks: 1}}"
    found = Recipe.read("hparams/phasen.yaml", given).resolve()
    assert found["batch_size"] == 4
    assert found["network"] == {"!tag": "!new:phasen_sb.PHASEN", "blocks": 1}


@pytest.mark.parametrize("name", ["", "name: mine\n"])
def test_what_the_sample_refers_to_stays(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = BASED + name + "output_folder: results/here\nlr: 0.5\nseed: 7"
    with_data = load(tmp_path, text, "{data_folder: there}")
    assert with_data["output_folder"] == "results/here"
    assert with_data["lr"] == 0.5
    # The sample overrides what the file says, and the command line both.
    sample = load(tmp_path, text)
    folder = "mine_sample" if name else "phasen_sample"
    assert sample["output_folder"] == f"results/{folder}/7"
    assert sample["lr"] == read_yaml(HPARAMS / "sample.yaml")["lr"]
    assert load(tmp_path, text, "lr: 0.25")["lr"] == 0.25


def test_key_above_a_base_that_nothing_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What only the base's network read goes silently, what the file sets not.
    hparams = load(tmp_path, BASED + NETWORK)
    assert "mask_activation" not in hparams
    with pytest.raises(UserError, match="reads the key 'mask_activation'"):
        load(tmp_path, f"{BASED}mask_activation: softplus{NETWORK}")


def test_bases_have_bases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    network = NETWORK.replace("blocks: 1", "blocks: !ref <mine>")
    (tmp_path / "low.yaml").write_text(f"{BASED}seed: 5\nmine: 1{network}")
    text = "base: ../low.yaml\nname: high\nphase_input: unit\n"
    # An upper file may need again what a lower one no longer reads.
    again = NETWORK + "    phase_input: !ref <phase_input>\n"
    high = load(tmp_path / "deep", text + again)
    assert high["output_folder"] == "results/high_sample/5"
    assert "mine" not in high and high["network"].phase_input == "unit"
    # A base alone is all that a file needs.
    same = load(tmp_path, "base: low.yaml", name="same.yaml")
    assert same["mine"] == 1 and len(same["network"].blocks) == 1
    (tmp_path / "low.yaml").write_text("base: same.yaml")
    with pytest.raises(UserError, match="low.yaml is based on .*on itself"):
        Recipe.read(tmp_path / "same.yaml")


def test_includes_are_found_beside_either_file(tmp_path):
    above = tmp_path / "with space"
    for folder, value in ((tmp_path, 2), (above, 1)):
        (folder / "parts").mkdir(parents=True)
        (folder / "parts" / "part.yaml").write_text(f"value: {value}\nmore: 0")
    (tmp_path / "parts" / "below.yaml").write_text("value: 3")
    (tmp_path / "low.yaml").write_text(
        f"{BASED}__low: !include:parts/part.yaml"
    )
    path = above / "high.yaml"
    path.write_text(
        "base: ../low.yaml\n"
        "__high: !include:parts/part.yaml\n    more: 20\n"
        "__others: [!include:parts/below.yaml ]\n"
    )
    found = Recipe.read(path).resolve()
    assert found["__low"] == {"value": 2, "more": 0}
    assert found["__high"] == {"value": 1, "more": 20}
    assert found["__others"] == [{"value": 3}]


def test_comments_before_objects_leave_them_whole(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"base: {HPARAMS / 'phasen.yaml'}\n"
        "augmentation: !new:phasen_sb.augmentation.Remix\n"
        "    snr_low: 0\n    snr_high: 1\n"
        "    noise_effects:  # why\n"
        "        - !new:phasen_sb.augmentation.Hiss\n"
        "            probability: 0.5\n"
    )
    hparams = Recipe.read(path, f"output_folder: {tmp_path / 'out'}").load()
    [effect] = hparams["augmentation"].noise_effects
    assert effect.probability == 0.5
