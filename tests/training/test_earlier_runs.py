"""Runs of earlier versions go on."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.recipe_process import finish, output_folder, refuse
from torch import nn

from phasen_sb.errors import UserError
from phasen_sb.training.optimizers import join_groups
from phasen_sb.training.run_record import check_same_run
from phasen_sb.utils.files import write_json

# Trained when the phase stream had a group of the optimizer, and when YAMLs
# named phasen_sb.schedules, .checkpoints, .data and .augmentation.
EARLIER = Path(__file__).parents[1] / "fixtures" / "earlier" / "run"
OPTIONS = {
    "network": (
        "{amplitude_channels: 4, phase_channels: 2, blocks: 1, "
        "recurrent_units: 4, dense_units: 8}"
    ),
    "n_fft": 64,
    "win_length": 4,
    "hop_length": 2,
    "metrics": "[pesq_wb]",
    "pictured_utterances": 0,
    "number_of_epochs": 2,
    # sample.yaml's values of that time
    "lr": 0.0004,
    "lr_final_share": 0.3,
    "initialization": "identity",
    "remix_snr_high": 20,
    "speed_probability": 0.0,
    "coloration_probability": 0.0,
    "coloration_spread": "null",
}


def test_goes_on_with_the_same_command(tmp_path):
    folder = tmp_path / "results" / "phasen_sample" / "1234"
    shutil.copytree(EARLIER, folder)
    sentence = refuse(tmp_path, **OPTIONS, power=0.4)
    assert "holds a run with power 0.5, not 0.4" in sentence
    finish(tmp_path, **OPTIONS)
    assert output_folder(tmp_path) == folder
    log = (folder / "train_log.txt").read_text()
    assert log.count("epoch: 1,") == log.count("epoch: 2,") == 1
    newest = max(
        (folder / "save").glob("CKPT+*/optimizer.ckpt"),
        key=lambda path: path.stat().st_mtime,
    )
    optimizer = torch.load(newest)
    [group] = optimizer["param_groups"]
    assert "lr_scale" not in group
    steps = {float(s["step"]) for s in optimizer["state"].values()}
    assert steps == {10.0}  # of both epochs


def test_groups_of_earlier_optimizers_join_in_their_order():
    torch.manual_seed(0)
    parts = [nn.Linear(2, 3), nn.Linear(3, 1)]
    groups = [
        {"params": list(part.parameters()), "lr_scale": 1.0} for part in parts
    ]
    before = torch.optim.Adam(groups, lr=0.1)
    nn.Sequential(*parts)(torch.ones(1, 2)).sum().backward()
    before.step()
    after = torch.optim.Adam(nn.Sequential(*parts).parameters(), lr=0.2)
    after.register_load_state_dict_pre_hook(join_groups)
    for _ in range(2):  # its own states load, too
        after.load_state_dict(before.state_dict())
        [group] = after.param_groups
        assert group["lr"] == 0.1 and "lr_scale" not in group
        for parameter, state in before.state.items():
            for name, value in state.items():
                assert torch.equal(after.state[parameter][name], value)
        before = after


def test_groups_that_are_not_of_earlier_versions_stay():
    groups = [
        {"params": [nn.Parameter(torch.ones(1))], "lr": r} for r in (1, 2)
    ]
    optimizer = torch.optim.SGD(groups)
    optimizer.register_load_state_dict_pre_hook(join_groups)
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert optimizer.state_dict() == state


def effect(kind, probability):
    return {"!tag": f"!new:phasen_sb.{kind}", "probability": probability}


@pytest.mark.parametrize(
    "old, new, message",
    [
        # Newer recipes have effects that do nothing until they are set.
        ([effect("Speed", 0.5)], [effect("Speed", 0.5), effect("New", 0)], ""),
        (
            [effect("Speed", 0.5)],
            [effect("New", 0.0), effect("Speed", 0.5)],
            "",
        ),
        ([effect("Speed", 0.0)], [], ""),
        (None, [effect("New", 0)], ""),
        (
            [effect("Speed", 0.5)],
            [effect("Speed", 0.5), effect("New", 1)],
            "New",
        ),
        ([effect("Speed", 0.5)], [effect("Speed", 0.4)], "x.0.probability 0.5"),
        ([effect("Speed", 0.5)], [effect("Speed", 0)], "x "),
        ([{"probability": 0}], [], "probability"),
        ([0, 1], [1], "x "),
    ],
)
def test_effects_that_do_nothing_do_not_count(old, new, message, tmp_path):
    (tmp_path / "CKPT+1").mkdir()
    write_json(tmp_path / "settings.json", {"x": old})
    hparams = {"save_folder": tmp_path, "output_folder": tmp_path}
    if not message:
        check_same_run(hparams, {"x": new})
        return
    with pytest.raises(UserError, match="holds a run with x") as caught:
        check_same_run(hparams, {"x": new})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("!new:phasen_sb.schedules.WarmupLinearDecay", None, None),
        ("!new:phasen_sb.WarmupLinearDecay", {"a": "b"}, "a None, not 'b'"),
        ("!name:phasen_sb.WarmupLinearDecay", None, "!name:phasen_sb.Warm"),
        ("!new:phasen_sb.slots.MagnitudeMask", None, "not '!new:phasen_sb.W"),
        ("!new:phasen_sb.gone.Thing", None, "gone.Thing"),
        ("!new:a b", None, "a b"),
    ],
)
def test_moved_objects_are_the_same(old, new, message, tmp_path):
    (tmp_path / "CKPT+1").mkdir()
    (tmp_path / "settings.json").write_text(
        f'{{"phase_lr_scale": 1.0, "x": [{{"!tag": "{old}"}}]}}'
    )
    hparams = {"save_folder": tmp_path, "output_folder": tmp_path}
    tag = {"!tag": "!new:phasen_sb.WarmupLinearDecay"}
    settings = {"x": [tag | (new or {})]}
    if message is None:
        check_same_run(hparams, settings)
        return
    with pytest.raises(ValueError) as caught:
        check_same_run(hparams, settings)
    assert message in str(caught.value)
