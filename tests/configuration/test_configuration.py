"""The recipe's YAML files, and what is said of wrong ones."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.recipe_process import RECIPE, TINY, refuse
from hyperpyyaml import load_hyperpyyaml
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.reading import read_yaml
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.configuration.run_options import (
    parse_arguments,
    settle_run_options,
)
from phasen_sb.data import sample_corpus
from phasen_sb.errors import UserError

HPARAMS = RECIPE.parents[1] / "hparams"
OWN_PAIRS = [
    f"--{kind}_folder={sample_corpus() / f'{kind}_testset_wav_16k'}"
    for kind in ("noisy", "clean")
]
PRESETS = {"phasen": 8_774_935, "phasen_paper": 34_851_571}


def write_yaml(folder, *changes):
    """A copy of phasen.yaml, without sample.yaml, with texts replaced."""
    text = (HPARAMS / "phasen.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


# ------------------------------------------------------------------- presets


@pytest.mark.parametrize("name", PRESETS)
def test_presets_run_with_plain_hyperpyyaml(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What a run keeps of a recipe needs no base.
    Recipe.read(f"hparams/{name}.yaml").write(tmp_path)
    hparams = load_hyperpyyaml((tmp_path / "hyperparams.yaml").read_text())
    parameters = hparams["network"].parameters()
    assert sum(p.numel() for p in parameters) == PRESETS[name]
    assert hparams["output_folder"] == f"results/{name}_sample/1234"
    shared = set(hparams) & set(RunOptions().as_dict())
    assert shared == {"max_grad_norm", "precision", "ckpt_interval_minutes"}


def test_phasen_plus_is_based_on_phasen(tmp_path):
    options = f"{{output_folder: {tmp_path}, input_power: 0.4}}"
    hparams = Recipe.read(HPARAMS / "phasen_plus.yaml", options).load()
    network = hparams["network"]
    assert sum(p.numel() for p in network.parameters()) == PRESETS["phasen"]
    assert network.input_power == 0.4 and network.phase_input == "unit"
    assert hparams["compute_stft"].hop_length == 256
    kinds = [type(e).__name__ for e in hparams["augmentation"].noise_effects]
    assert kinds == [
        "Speed",
        "Coloration",
        "Hiss",
        "SyntheticNoise",
        "Babble",
        "LevelChanges",
    ]
    assert hparams["augmentation"].probability == 1.0


@pytest.mark.parametrize("frames", [0, 4])
def test_phasen_live_sees_as_far_ahead_as_one_value_says(frames, tmp_path):
    options = f"{{output_folder: {tmp_path}, lookahead_frames: {frames}}}"
    hparams = Recipe.read(HPARAMS / "phasen_live.yaml", options).load()
    network = hparams["network"]
    assert sum(p.numel() for p in network.parameters()) == 1_002_893
    assert network.causal and network.lookahead_frames == frames
    assert hparams["enhancer"].latency_samples == 512 + frames * 256


def test_phasen_pesq_is_based_on_phasen_plus(tmp_path):
    options = f"{{output_folder: {tmp_path}, pesq_weight: 0.7, power: 0.4}}"
    hparams = Recipe.read(HPARAMS / "phasen_pesq.yaml", options).load()
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


# ----------------------------------------------------------------- overrides


def test_sample_values_hold_only_for_the_sample(tmp_path):
    recipe = Recipe.read("hparams/phasen.yaml", "batch_size: 3")
    sample = recipe.resolve()
    assert sample["batch_size"] == 3 and sample["number_of_epochs"] < 40
    assert set(recipe.from_sample) == (
        set(read_yaml(HPARAMS / "sample.yaml")) - {"batch_size"}
    )
    # Objects of the command line take precedence, too.
    given = Recipe.read("hparams/phasen.yaml", "lr: !apply:float {x: 1}")
    assert "lr" not in given.from_sample and "!apply:float" in given.text
    with_data = Recipe.read("hparams/phasen.yaml", "data_folder: there")
    assert with_data.from_sample == ()
    assert with_data.resolve()["number_of_epochs"] == 40
    # Also if the user's own YAML names the data.
    mine = write_yaml(tmp_path, ("data_folder: null", "data_folder: there"))
    shutil.copy(HPARAMS / "sample.yaml", tmp_path)
    found = Recipe.read(mine, "lr: 1").resolve()
    assert (found["lr"], found["number_of_epochs"]) == (1, 40)


@pytest.mark.parametrize(
    "text",
    ["2024-11-27", "007", "take #1", "x=y", "null", "yes", "1e5", "a: b", "!x"],
)
def test_text_on_the_command_line_is_text(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / text).mkdir()
    words = ["--lr", "1", "--noisy_folder", text, f"--name={text}"]
    words += [f"--clean_folder={text}", "--output_folder", text]
    _, _, overrides = parse_arguments(["hparams/phasen.yaml", *words])
    hparams = Recipe.read("hparams/phasen.yaml", overrides).load()
    keys = ("noisy_folder", "clean_folder", "name", "output_folder")
    assert [hparams[key] for key in keys] == [text] * 4
    assert hparams["save_folder"] == f"{text}/save" and hparams["lr"] == 1


def test_text_on_the_command_line_may_still_be_yaml(tmp_path):
    _, _, overrides = parse_arguments(
        ["a.yaml", "--name", "me", "--output_folder", "!ref there/<name>"]
        + ["--init_from=null", "--valid_speakers", "[p1, p2]"]
    )
    recipe = Recipe.read("hparams/phasen.yaml", overrides).resolve()
    assert recipe["output_folder"] == "there/me"
    assert recipe["valid_speakers"] == ["p1", "p2"]
    assert recipe["init_from"] is None
    for words, message in (
        (["--name", "take", "1"], "'1' .* belongs to no option; .*\"take 1\""),
        (["--clean_folder", ""], "--clean_folder has no value"),
    ):
        with pytest.raises(UserError, match=message):
            parse_arguments(["a.yaml", *words])


def test_nested_override_reaches_the_network(tmp_path):
    overrides = f"{{network: {TINY}, output_folder: {tmp_path}}}"
    hparams = Recipe.read("hparams/phasen.yaml", overrides).load()
    network = hparams["network"]
    assert sum(p.numel() for p in network.parameters()) < 400_000
    assert hparams["enhancer"].network is network


def test_debug_has_its_own_folder(tmp_path):
    overrides = f"{{output_folder: {tmp_path}/run, network: {TINY}}}"
    hparams = Recipe.read("hparams/phasen.yaml", overrides, True).load()
    assert hparams["save_folder"] == f"{tmp_path}/run/debug/save"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["debug"]


def test_precision_is_that_of_the_device_chosen(monkeypatch):
    hparams = {"precision": "auto"}
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
        (
            ("    blocks: 3", "    blocks: 3\n    blocks: 4"),
            "duplicate key 'blocks' in line 194",
        ),
        (
            ("    blocks: 3", "    blocks: 2.5"),
            "blocks of phasen_sb.PHASEN is 2.5; it must be a whole number",
        ),
        (
            ("    blocks: 3", "    blocks: 3\n    causal: no"),
            "causal of phasen_sb.PHASEN is 'no'; it must be true or false",
        ),
        (
            ("    blocks: 3", "    blocks: 3\n    band_bins: [4]"),
            r"band_bins of .* is \[4\]; it must be a whole number or null",
        ),
    ],
)
def test_wrong_yaml_is_told_in_one_line(change, message, tmp_path):
    path = write_yaml(tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        Recipe.read(path, f"output_folder: {tmp_path / 'out'}").load()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


class Size:
    """A user's class with hints that need not hold."""

    def __init__(self, size: int = None, items: [int] = ()):
        raise FileNotFoundError("the real cause")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("{size: null}", "the real cause.$"),
        ("{size: 2.0, items: [x]}", "the real cause.$"),
        ("[1, a]", "the real cause.$"),
        ("{size: [2]}", r"cause. Perhaps size of .*Size is \[2\]; it must be"),
    ],
)
def test_hints_of_other_classes_hide_no_cause(arguments, message, tmp_path):
    made = f"__size: !new:{__name__}.Size {arguments}\n"
    path = write_yaml(tmp_path, ("\ncompression: ", f"\n{made}compression: "))
    with pytest.raises(UserError, match=message):
        Recipe.read(path, f"output_folder: {tmp_path / 'out'}").load()


VALID = """
import sys
from phasen_sb.configuration.recipe import Recipe
recipe = Recipe.read(sys.argv[1], f"output_folder: {sys.argv[2]}")
print(len(recipe.load()["network"].neighbour_filter.neighbours))
"""


def test_all_that_hyperpyyaml_reads_is_taken(tmp_path):
    path = write_yaml(
        tmp_path,
        ("num_workers: 2", "num_workers: !apply:os.cpu_count"),
        ("    blocks: 3", "    blocks: 3\n    filter_kernel: (3, 5)"),
    )
    # In a process of its own: the first YAML that it reads makes HyperPyYAML
    # tell the next reader what a tuple is.
    done = subprocess.run(
        [sys.executable, "-c", VALID, path, tmp_path / "out"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split()[-1:] == ["14"], done.stderr


@pytest.mark.parametrize(
    "content, message",
    [("", "no 'key: value' pairs"), ("- a", "no 'key: value' pairs")],
)
def test_file_that_holds_no_settings(content, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        Recipe.read(path)


def test_key_that_nothing_reads(tmp_path):
    path = write_yaml(tmp_path, ("batch_size: ", "batch_sise: "))
    with pytest.raises(UserError, match="lacks the key 'batch_size'.*sise"):
        Recipe.read(path)
    path = write_yaml(tmp_path, ("\nlr: ", "\nlambda: 1\nlr: "))
    with pytest.raises(UserError, match="Nothing reads the key 'lambda'"):
        Recipe.read(path)
    # Also if a comment speaks of it.
    path.write_text(path.read_text() + "# as in <lambda>")
    with pytest.raises(UserError, match="Nothing reads the key 'lambda'"):
        Recipe.read(path)


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
            "remix_probability is 0, so that coloration_probability, hiss_prob",
        ),
        (["--metrics", "[stoi]"], "metrics lacks pesq_wb"),
        (["--metrics", "[pesq_wb, stoy]"], "stoy"),
        (["--precision=fp16", "--device=cpu"], "fp16 needs a GPU"),
        (["--device=cuda:7"], "GPUs here; use --device=cpu"),
        (["--device=gpu"], "--device=gpu is not a device"),
        (["--batch_size=-1"], "batch_size is -1; .* at least 1"),
        (["--pause_probability=-3"], "pause_probability is -3; .* 0 to 1"),
        (["--phase_lr_scale=2"], "phase_lr_scale of .* is 2, but .* removed"),
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
        (["--dev=cpu"], "--dev is not an option; write --device in full"),
        (["--grad_acc", "2"], "write --grad_accumulation_factor in full"),
        (["--data_parallel_backend"], "torchrun"),
        (["--grad_accumulation_factor=0"], "at least 1"),
        (["--optimizer_step_limit=x"], "whole number"),
        (["--optimizer_step_limit=-1"], "whole number"),
        (["--valid_fraction=2", *OWN_PAIRS], "valid_fraction is 2; .* 0 to 1"),
        (["--group_regex=(", *OWN_PAIRS], r"group_regex '\(' is not a regular"),
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
    path.write_text(f"base: {HPARAMS / 'phasen.yaml'}\nlambda: 1")
    sentence = refuse(tmp_path, yaml=path)
    assert f"Nothing reads the key 'lambda' of {path}" in sentence
