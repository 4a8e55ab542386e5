"""The recipe's YAML files, and what is said of wrong ones."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from helpers.recipe_process import RECIPE, TINY, refuse
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.inheritance import expand
from phasen_sb.configuration.recipe import (
    check_keys,
    find_hparams,
    load_hparams,
    load_recipe,
    merge_overrides,
    read_yaml,
    resolve,
)
from phasen_sb.configuration.run_options import settle_run_options
from phasen_sb.data import sample_corpus
from phasen_sb.errors import UserError

HPARAMS = RECIPE.parents[1] / "hparams"
OWN_PAIRS = [
    f"--{kind}_folder={sample_corpus() / f'{kind}_testset_wav_16k'}"
    for kind in ("noisy", "clean")
]
PRESETS = {"phasen": 8_774_935, "phasen_paper": 34_851_571}


def write_yaml(folder, change):
    """A copy of phasen.yaml, without sample.yaml, with one text replaced."""
    old, new = change
    text = (HPARAMS / "phasen.yaml").read_text()
    assert old in text
    path = folder / "mine.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


# ------------------------------------------------------------------- presets


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_with_plain_hyperpyyaml(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open(HPARAMS / f"{name}.yaml") as file:
        hparams = load_hyperpyyaml(file, {"output_folder": str(tmp_path)})
    parameters = hparams["network"].parameters()
    assert sum(p.numel() for p in parameters) == PRESETS[name]
    shared = set(hparams) & set(RunOptions().as_dict())
    assert shared == {"max_grad_norm", "precision", "ckpt_interval_minutes"}


def test_phasen_plus_goes_over_phasen(tmp_path):
    options = f"{{output_folder: {tmp_path}, input_power: 0.4}}"
    path, options = expand(HPARAMS / "phasen_plus.yaml", options)
    _, hparams, _ = load_recipe(path, options)
    network = hparams["network"]
    assert sum(p.numel() for p in network.parameters()) == PRESETS["phasen"]
    assert network.input_power == 0.4 and network.phase_input == "unit"
    assert hparams["compute_stft"].hop_length == 256
    kinds = [type(e).__name__ for e in hparams["augmentation"].noise_effects]
    assert kinds == ["Speed", "Coloration", "Hiss"]
    assert hparams["augmentation"].probability == 1.0


def test_phasen_pesq_goes_over_phasen_plus(tmp_path):
    options = f"{{output_folder: {tmp_path}, pesq_weight: 0.7, power: 0.4}}"
    path, options = expand(HPARAMS / "phasen_pesq.yaml", options)
    _, hparams, _ = load_recipe(path, options)
    assert hparams["network"].phase_input == "unit"
    terms = hparams["compute_cost"].terms
    parts = [
        (name, domain, weight) for name, (_, domain, weight) in terms.items()
    ]
    assert parts == [
        ("compressed", "spectrum", 1),
        ("pesq", "waveform", 0.7),
        ("si_snr", "waveform", 0.015),
        ("envelope", "consistent_spectrum", 0.2),
    ]
    assert terms["compressed"][0].keywords["power"] == 0.4


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
    path, options = expand(path, f"{{output_folder: {tmp_path / 'out'}}}")
    _, hparams, _ = load_recipe(path, options)
    [effect] = hparams["augmentation"].noise_effects
    assert effect.probability == 0.5


def test_presets_differ_in_front_end_and_network_alone():
    class Loader(yaml.SafeLoader):
        pass

    def with_tag(loader, tag, node):
        if isinstance(node, yaml.MappingNode):
            return {"!tag": tag, **loader.construct_mapping(node, deep=True)}
        return f"{tag} {getattr(node, 'value', '')}"

    Loader.add_multi_constructor("!", with_tag)
    one, other = (
        yaml.load((HPARAMS / f"{name}.yaml").read_text(), Loader)
        for name in PRESETS
    )
    assert list(one) == list(other)
    different = {key for key in one if one[key] != other[key]}
    assert different <= {
        "name",
        "hop_length",
        "window",
        "phase_input",
        "network",
        "lr",
        "lr_schedule",
        "warmup_steps",
        "lr_final_share",
    }
    assert {"name", "hop_length", "window", "network"} <= different


# ----------------------------------------------------------------- overrides


def test_sample_values_hold_only_for_the_sample(tmp_path):
    seed = find_hparams("hparams/phasen.yaml")
    sample = merge_overrides(seed, "batch_size: 3")
    assert sample["batch_size"] == 3 and sample["number_of_epochs"] < 40
    assert merge_overrides(seed, "data_folder: there") == {
        "data_folder": "there"
    }
    # Also if the user's own YAML names the data.
    mine = write_yaml(tmp_path, ("data_folder: null", "data_folder: there"))
    shutil.copy(HPARAMS / "sample.yaml", tmp_path)
    assert merge_overrides(mine, "lr: 1") == {"lr": 1}


def test_nested_override_reaches_the_network(tmp_path):
    overrides = f"{{network: {TINY}, output_folder: {tmp_path}}}"
    _, hparams, _ = load_recipe("hparams/phasen.yaml", overrides)
    network = hparams["network"]
    assert sum(p.numel() for p in network.parameters()) < 400_000
    assert hparams["enhancer"].network is network


def test_debug_has_its_own_folder(tmp_path):
    overrides = f"{{output_folder: {tmp_path}/run, network: {TINY}}}"
    _, hparams, _ = load_recipe("hparams/phasen.yaml", overrides, debug=True)
    assert hparams["save_folder"] == f"{tmp_path}/run/debug/save"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["debug"]


def test_precision_is_that_of_the_device_chosen(tmp_path, monkeypatch):
    _, hparams, _ = load_recipe(
        "hparams/phasen.yaml", f"{{output_folder: {tmp_path}, network: {TINY}}}"
    )
    asked = []
    monkeypatch.setattr(
        "phasen_sb.configuration.run_options.fastest_precision",
        lambda device: asked.append(device) or "bf16",
    )

    def settle(**options):
        options = RunOptions.from_dictionary(options)
        return settle_run_options(options, hparams)

    assert settle(device="cpu")["precision"] == "bf16"
    assert settle(device="cpu", precision="fp32")["precision"] == "fp32"
    assert asked == ["cpu"]


# ---------------------------------------------------- files that go over files

BASED = f"base: {HPARAMS / 'phasen.yaml'}\n"
NETWORK = """
network: !new:phasen_sb.PHASEN
    n_fft: !ref <n_fft>
    blocks: 1
    recurrent_units: 8
    dense_units: 16
"""


def overlay(folder, text, options="", name="mine.yaml"):
    """Writes a file that goes over another, and loads it as the recipe does."""
    path = folder / name
    path.write_text(text)
    expanded, options = expand(path, options)
    return load_recipe(expanded, options)[1]


def test_object_alone_replaces_and_leaves_no_options(tmp_path):
    given = "{network: !new:phasen_sb.PHASEN {blocks: 1}}"
    path, rest = expand(HPARAMS / "phasen.yaml", given)
    assert rest == "" and merge_overrides(path, rest)["batch_size"] == 4
    assert dict(read_yaml(path)["network"]) == {"blocks": 1}


@pytest.mark.parametrize("name", ["", "name: mine\n"])
def test_what_the_sample_refers_to_stays(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = BASED + name + "output_folder: results/here\nlr: 0.5\nseed: 7"
    with_data = overlay(tmp_path, text, "{data_folder: there}")
    assert with_data["output_folder"] == "results/here"
    assert with_data["lr"] == 0.5
    # The sample goes over what the file says, and the command line over both.
    sample = overlay(tmp_path, text)
    folder = "mine_sample" if name else "phasen_sample"
    assert sample["output_folder"] == f"results/{folder}/7"
    assert sample["lr"] == read_yaml(HPARAMS / "sample.yaml")["lr"]
    assert overlay(tmp_path, text, "lr: 0.25")["lr"] == 0.25


def test_key_of_an_overlay_that_nothing_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What only the base's network read goes silently, what the file sets not.
    hparams = overlay(tmp_path, BASED + NETWORK)
    assert "mask_activation" not in hparams
    with pytest.raises(UserError, match="reads the key 'mask_activation'"):
        overlay(tmp_path, f"{BASED}mask_activation: softplus{NETWORK}")


def test_bases_have_bases(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    network = NETWORK.replace("blocks: 1", "blocks: !ref <mine>")
    (tmp_path / "low.yaml").write_text(f"{BASED}seed: 5\nmine: 1{network}")
    text = "base: ../low.yaml\nname: high\nphase_input: unit\n"
    # An upper file may need again what a lower one no longer reads.
    again = NETWORK + "    phase_input: !ref <phase_input>\n"
    high = overlay(tmp_path / "deep", text + again)
    assert high["output_folder"] == "results/high_sample/5"
    assert "mine" not in high and high["network"].phase_input == "unit"
    # A base alone is all that a file needs.
    same = overlay(tmp_path, "base: low.yaml", name="same.yaml")
    assert same["mine"] == 1 and len(same["network"].blocks) == 1
    (tmp_path / "low.yaml").write_text("base: same.yaml")
    with pytest.raises(UserError, match="low.yaml goes over .*over itself"):
        expand(tmp_path / "same.yaml")


def test_includes_are_found_beside_either_file(tmp_path):
    above = tmp_path / "with space"
    for folder, value in ((tmp_path, 2), (above, 1)):
        (folder / "parts").mkdir(parents=True)
        (folder / "parts" / "part.yaml").write_text(f"value: {value}\nmore: 0")
    (tmp_path / "parts" / "below.yaml").write_text("value: 3")
    (tmp_path / "low.yaml").write_text("low: !include:parts/part.yaml")
    path = above / "high.yaml"
    path.write_text(
        "base: ../low.yaml\n"
        "high: !include:parts/part.yaml\n    more: 20\n"
        "others: [!include:parts/below.yaml ]\n"
    )
    found = resolve(expand(path)[0], {})
    assert found["low"] == {"value": 2, "more": 0}
    assert found["high"] == {"value": 1, "more": 20}
    assert found["others"] == [{"value": 3}]


# --------------------------------------------------------------- wrong YAMLs


@pytest.mark.parametrize(
    "change, message",
    [
        (("lr: 0.0005", "lr: [0.0005"), r"mine.yaml is not valid YAML: .*line"),
        (("phasen_sb.PHASEN\n", "phasen_sb.PHASE\n"), "PHASE"),
        (("<lr>", "<lrr>"), "lrr"),
        (("    blocks: 3", "    block: 3"), "block"),
        (("seed: 1234", "{seed: 1234"), "not valid YAML"),
        (("seed: 1234", "seed: 1234\nseed: 1"), "duplicate key.*line"),
    ],
)
def test_wrong_yaml_is_told_in_one_line(change, message, tmp_path):
    path = write_yaml(tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        load_hparams(path, {"output_folder": str(tmp_path / "out")})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "content, message",
    [("", "no 'key: value' pairs"), ("- a", "no 'key: value' pairs")],
)
def test_file_that_holds_no_settings(content, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_recipe(str(path), "")


def test_key_that_nothing_reads(tmp_path):
    path = write_yaml(tmp_path, ("batch_size: ", "batch_sise: "))
    hparams = load_hparams(path, {"output_folder": str(tmp_path / "out")})
    with pytest.raises(UserError, match="lacks the key 'batch_size'.*sise"):
        check_keys(path, hparams, {"batch_size"})
    path = write_yaml(tmp_path, ("\nlr: ", "\nlambda: 1\nlr: "))
    hparams = load_hparams(path, {"output_folder": str(tmp_path / "out")})
    with pytest.raises(UserError, match="Nothing reads the key 'lambda'"):
        check_keys(path, hparams, set(hparams) - {"lambda"})
    # Also if a comment speaks of it.
    path.write_text(path.read_text() + "# as in <lambda>")
    with pytest.raises(UserError, match="Nothing reads the key 'lambda'"):
        check_keys(path, hparams, set(hparams) - {"lambda"})


# ---------------------------------------------------------- the command line


@pytest.mark.parametrize(
    "words, message",
    [
        (["--lrr", "1"], "no key 'lrr' to override; did you mean 'lr'"),
        (["--noprogresbar", "1"], "did you mean 'noprogressbar'"),
        (["oops"], "'oops'"),
        (["--lr", "[1"], "overrides are not valid YAML"),
        (["--phase_input", "foo"], "phase_input.*foo"),
        (["--initialization=x"], "initialization.*x"),
        (["--data_folder=no/where"], "no/where"),
        (["--clean_folder=/tmp"], "clean_folder is not enough; .*noise_folder"),
        (["--crop_seconds=-1"], "crop_seconds"),
        (
            ["--extra_clean_folder=/tmp", "--remix_probability=0"],
            "no noise; give --remix_probability 1",
        ),
        (
            ["--extra_noise_folder=no/where"],
            "extra_noise_folder .*no/where does not exist",
        ),
        (
            ["--extra_clean_folder=/tmp", "--augmentation=null"],
            "extra_clean_folder is /tmp, but not all batches",
        ),
        (
            ["--hiss_probability=0.5", "--remix_probability=0"],
            "remix_probability is 0, so that hiss_probability would",
        ),
        (["--metrics", "[stoi]"], "metrics lacks pesq_wb"),
        (["--metrics", "[pesq_wb, stoy]"], "stoy"),
        (["--precision=fp16", "--device=cpu"], "fp16 needs a GPU"),
        (["--device=cuda:7"], "GPUs here; use --device=cpu"),
        (["--device=gpu"], "--device=gpu is no device"),
        (["--batch_size=-1"], "batch_size is -1; .* at least 1"),
        (["--lr=fast"], "lr is 'fast'; it must be a number, at least 0"),
        (["--validate_every=0"], "validate_every is 0"),
        (["--hop_length=60"], r"hop_length \(60 ms\) must not exceed win"),
        (
            ["--opt_class=adam"],
            "opt_class .* an object and cannot be .adam",
        ),
        (["--precision=fp8"], "--precision: invalid choice: 'fp8'"),
        (["--jit"], "use --compile"),
        (
            ["--activation_memory_budget=0.5"],
            "does nothing without --compile; add that",
        ),
        (["--compile_module_keys=enhancer"], "--compile alone"),
        (["--remove_vector_weight_decay"], "set weight_decay of opt_class"),
        (["--dev=cpu"], "--dev is no option; write --device in full"),
        (["--grad_acc", "2"], "write --grad_accumulation_factor in full"),
        (["--data_parallel_backend"], "torchrun"),
        (["--grad_accumulation_factor=0"], "at least 1"),
        (["--optimizer_step_limit=x"], "whole number"),
        (["--optimizer_step_limit=-1"], "whole number"),
        (["--valid_fraction=2", *OWN_PAIRS], "valid_fraction is 2; .* 0 to 1"),
        (["--group_regex=(", *OWN_PAIRS], r"group_regex '\(' is no regular"),
        (["--output_folder=/proc/x"], "/proc/x"),
        (["--test_only"], "no checkpoint to test; train first"),
    ],
)
def test_wrong_command_line_ends_with_one_sentence(words, message, tmp_path):
    given = {word.lstrip("-").split("=")[0]: None for word in words}
    sentence = refuse(tmp_path, *words, **given)
    assert re.search(message, sentence), sentence
    assert not list(tmp_path.glob("results/*/*/results.json"))


def test_missing_yaml_suggests_the_nearest(tmp_path):
    sentence = refuse(tmp_path, yaml="hparams/phasen_papr.yaml")
    assert "no hyperparameter file" in sentence
    assert "did you mean 'phasen_paper.yaml'" in sentence
    assert "hparams" in refuse(tmp_path, yaml=str(Path(HPARAMS)))


def test_error_names_the_file_that_was_given(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{BASED}lambda: 1")
    sentence = refuse(tmp_path, yaml=path)
    assert f"Nothing reads the key 'lambda' of {path}" in sentence
