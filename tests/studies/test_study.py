"""Studies: the real script on tiny trainings."""

import importlib
import sys
from types import SimpleNamespace

import pytest
from helpers.recipe_process import ARGUMENTS, RECIPE, Run
from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.reading import find_hparams, read_yaml
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError
from phasen_sb.studies.study import (
    check_options,
    command_line,
    read_study,
    take_parts,
)
from phasen_sb.training.run_record import settings_of

STUDY = """\
recipe: hparams/phasen.yaml
runs:
  complete: {}
  one_stream: {two_streams: False}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls the script, whose trainings are processes that start quickly."""
    monkeypatch.syspath_prepend(str(RECIPE.parent))
    monkeypatch.chdir(tmp_path)
    script = importlib.import_module("study")

    def train(words):
        assert words[:2] == [sys.executable, str(RECIPE)]
        training = Run(tmp_path, words[2:])
        status = training.wait()
        print(training.text())
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr(script, "subprocess", SimpleNamespace(run=train))

    def main(*options):
        words = ["mine.yaml", "--noprogressbar"]
        values = ARGUMENTS | {"number_of_epochs": 1, "metrics": "[pesq_wb]"}
        for name, value in (values | {"pictured_utterances": 0}).items():
            words += [f"--{name}", str(value)]
        script.main([*words, *options])

    return main


def test_study_trains_all_goes_on_and_tabulates(
    run, tmp_path, voicebank, capsys
):
    data = ["--data_folder", str(voicebank)]
    # As if it had been stopped after the first training.
    broken = STUDY.replace("False", "maybe")
    (tmp_path / "mine.yaml").write_text(broken)
    with pytest.raises(UserError, match="one_stream ended with exit status 1"):
        run(*data)
    said = capsys.readouterr().out
    assert "two_streams is 'maybe'; it must be True" in said
    (tmp_path / "mine.yaml").write_text(STUDY)
    run(*data)
    said = capsys.readouterr().out
    assert "complete: has finished" in said
    table = (tmp_path / "results" / "mine" / "table.md").read_text()
    assert table in said
    head, _, noisy, complete, one_stream = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
    )
    assert head == ["", "M parameters", "PESQ-wb", "gain in PESQ-wb"]
    assert (noisy[0], complete[0]) == ("noisy input", "complete")
    assert complete[3] == "" and one_stream[3].count(",") == 1
    assert one_stream[1] != complete[1]
    with pytest.raises(UserError, match="comes from another command"):
        run(*data, "--lr", "0.1")


def test_settings_reach_the_training_as_they_are_written(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "recipe: a.yaml\ncumulative: True\nruns:\n"
        "  one: {network: {blocks: 2}, name: '1e-3', metrics: [a, 'b: c']}\n"
        "  two: {network: !new:my.Net {a: 1}, remix: null}\n"
        "  three: {network: {b: 2.0}}\n"
    )
    study = read_study(path)
    words = command_line(study, "one", tmp_path)[3:]
    assert words[:4] == ["--network", "{blocks: 2}", "--name", "'1e-3'"]
    assert YAML().load(words[5]) == ["a", "b: c"]
    words = command_line(study, "two", tmp_path)[3:]
    assert words[1] == "!new:my.Net {a: 1}" and words[-1] == "null"
    # Parts of an object replace the object of the run before.
    assert study.runs["three"]["network"] == {"b": 2.0}
    for options, message in (
        (["--name=2"], "--name is set by the run one of the study"),
        (["--output_folder", "x"], "--output_folder is not for a study"),
    ):
        with pytest.raises(UserError, match=message):
            check_options(study, options)


def test_parts_from_the_command_line_join_those_of_the_runs():
    study = read_study(find_hparams("hparams/studies/steps_to_plus.yaml"))
    words = ["--network={blocks: 2}", "--lr", "1e-3", "--debug"]
    small, rest = take_parts(study, words)
    assert rest == ["--lr", "1e-3", "--debug"]
    assert small.runs["baseline"] == {"network": {"blocks": 2}}
    last = small.runs["pesq_and_si_snr_in_the_loss"]["network"]
    assert last["blocks"] == 2 and last["phase_norm"] == "frame"
    assert "blocks" not in study.runs["frame_norms"]["network"]
    with pytest.raises(UserError, match="phase_norm of --network is set by"):
        take_parts(study, ["--network", "{phase_norm: global}"])
    words = ["--network", "{blocks: 2}", "--network={blocks: 4, n_fft: 64}"]
    twice, _ = take_parts(study, words)
    assert twice.runs["baseline"]["network"] == {"blocks": 4, "n_fft": 64}
    for value in ("{", "{a: b: c}", "{a: *x}"):
        with pytest.raises(UserError, match=r"^--network '\{.* is not valid"):
            take_parts(study, ["--network", value])
    # An object of a kind is not made of parts.
    for words in (["--network", "!new:my.Net {a: 1}"], ["--network"]):
        same, rest = take_parts(study, words)
        assert same.runs == study.runs and rest == words
        with pytest.raises(UserError, match="--network is set by the run"):
            check_options(same, rest)
    others = ["network", "{blocks: 2}", "--note=a=b", "--date=2026-13-45"]
    assert take_parts(study, others) == (study, others)


def test_last_of_the_steps_is_phasen_pesq(tmp_path):
    study = read_study(find_hparams("hparams/studies/steps_to_plus.yaml"))
    words = command_line(study, "trace_of_the_input", tmp_path)[3:]
    pairs = zip(words[::2], words[1::2], strict=True)
    text = "\n".join(f"{key[2:]}: {value}" for key, value in pairs)
    found = settings(study.recipe, text)
    # Batches are alike in all runs of the study.
    alike = "batch_size: 12\ncrop_seconds: 3.0\nwarmup_steps: 1000"
    expected = settings("hparams/phasen_pesq.yaml", alike)
    names = ("hparams/phasen_plus.yaml", "hparams/phasen_pesq.yaml")
    keys = set().union(*(read_yaml(find_hparams(name)) for name in names))
    for key in keys - {"base", "name", "network"}:
        if key in found:
            assert found[key] == expected[key], key
    written = {k: v for k, v in expected["network"].items() if v is not None}
    assert {key: found["network"].get(key) for key in written} == written
    assert found["augmentation"] == expected["augmentation"]


def settings(name, text):
    return settings_of(
        Recipe.read(name, f"data_folder: x\n{text}"), RunOptions()
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("recipe: phasen.yaml", "has the keys recipe;"),
        ("{recipe: a, runs: {}, run: {}}", "has the keys recipe, runs, run;"),
        ("{recipe: a, runs: {}}", "for each name what it changes"),
        ("{recipe: a, runs: {lr=1: {lr: 1}}}", "calls a run 'lr=1'"),
        ("{recipe: a, runs: {b: {}}, cumulative: no}", "must be True or"),
        ("{recipe: a, runs: {b: 3}}", "for each name what it changes"),
    ],
)
def test_wrong_studies_get_a_sentence(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_study(path)
