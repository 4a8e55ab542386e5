"""The table of a recipe's keys, and the checks that it makes."""

from pathlib import Path

import pytest
from helpers.recipe_process import RECIPE
from speechbrain.utils.run_opts import RunOptions

from phasen_sb.configuration.checks import check_values
from phasen_sb.configuration.keys import KEYS, keys_with, to_markdown
from phasen_sb.configuration.reading import read_yaml
from phasen_sb.configuration.recipe import Recipe
from phasen_sb.errors import UserError

ROOT = RECIPE.parents[1]
RECIPES = [
    path
    for folder in ("", "baselines")
    for path in sorted((ROOT / "hparams" / folder).glob("*.yaml"))
]
PAGE = ROOT / "docs" / "recipe_keys.md"
EARLIER = Path(__file__).parents[1] / "fixtures" / "earlier"


def test_every_key_of_every_recipe_has_its_row_and_no_other():
    written = set().union(*map(read_yaml, RECIPES)) - {"base"}
    assert {key for key in written if not key.startswith("__")} == set(KEYS)


def test_every_flag_is_set_where_it_belongs():
    probabilities = {key for key in KEYS if key.endswith("_probability")}
    assert keys_with("remix_share") == probabilities - {"remix_probability"}
    nulls = set().union(
        *({k for k, v in read_yaml(p).items() if v is None} for p in RECIPES)
    )
    assert nulls <= keys_with("optional")
    # Run options have rows, too, and effects end as sentences do.
    assert {"precision", "max_grad_norm"} <= set(KEYS) & set(
        RunOptions().as_dict()
    )
    assert all(key.effect.endswith(".") for key in KEYS.values())


def test_page_shows_the_table():
    head = PAGE.read_text().partition("| key |")[0]
    assert PAGE.read_text() == head + to_markdown(), (
        "docs/recipe_keys.md is out of date; write to_markdown() below its "
        "introduction."
    )


@pytest.mark.parametrize(
    "values, message",
    [
        ({"pause_probability": -3}, "pause_probability is -3; .* from 0 to 1"),
        (
            {"remix_probability": 0, "pause_probability": 0.3},
            "remix_probability is 0, so that pause_probability would",
        ),
        ({"loss_scale": -1}, "loss_scale is -1; .*number or True, at least 0"),
        ({"loss_scale": False}, "loss_scale is False"),
        ({"input_share": 1.5}, "input_share is 1.5; .* from 0 to 1"),
        ({"input_power": "x"}, "input_power is 'x'; it must be a number"),
        ({"base_channels": 0.5}, "base_channels is 0.5; .* whole number"),
        ({"layers": 0}, "layers is 0; it must be a whole number, at least 1"),
        ({"channel_counts": 4}, "channel_counts is 4; it must be a list"),
        ({"metrics": "pesq_wb"}, "metrics is 'pesq_wb'; it must be a list"),
        ({"hop_length": 0}, "hop_length is 0; it must be a number, at least"),
        ({"n_fft": 512.5}, "n_fft is 512.5; it must be a whole number"),
        ({"seed": True}, "seed is True; it must be a whole number"),
        ({"lr": None}, "lr is None; it must be a number, at least 0"),
        ({"lr": float("nan")}, "lr is nan; it must be a number"),
        ({"snr_low": float("-inf")}, "snr_low is -inf; it must be a number"),
        ({"corpus_on_device": "maybe"}, "maybe'; .* True, False or auto"),
        ({"use_tensorboard": 1}, "use_tensorboard is 1; .* True or False"),
        ({"noisy_folder": 7}, "noisy_folder is 7; .* text, or null, in quotes"),
        ({"metric_jobs": 0}, "metric_jobs is 0; .* at least 1, or null"),
    ],
)
def test_values_that_make_no_sense(values, message):
    with pytest.raises(UserError, match=f"{message}.*\\.$"):
        check_values(values)


def test_values_at_the_limits():
    check_values(
        {
            "loss_scale": True,
            "metric_jobs": None,
            "seed": 2**32 - 1,
            "channel_counts": (1, 2),
            "pause_probability": 1,
            "remix_probability": 0.5,
            "max_grad_norm": -1,
        }
    )


# ------------------------------------------------------- of earlier versions


def test_recipes_of_earlier_versions_load(tmp_path):
    sizes = "encoder_channels: 16, layers: 1"
    for name, more in (("phasen", ""), ("sepformer", f", {sizes}")):
        text = f"{{output_folder: {tmp_path}, data_folder: x{more}}}"
        earlier = Recipe.read(EARLIER / f"{name}.yaml", text).load()
        assert "phase_lr_scale" not in earlier
        # The same objects as today's.
        today = {"sepformer": "baselines/sepformer"}.get(name, name)
        today = Recipe.read(f"hparams/{today}.yaml", text).load()
        assert earlier.keys() <= today.keys()  # newer keys have defaults
        for key, value in earlier.items():
            assert type(value) is type(today[key]), key
        assert earlier["prepare_data"].func is today["prepare_data"].func


def test_key_of_earlier_versions_set_to_something_else():
    with pytest.raises(UserError, match="phase_lr_scale of .*phasen.yaml is 2"):
        Recipe.read(EARLIER / "phasen.yaml", "phase_lr_scale: 2")
