"""The README's examples of blocks, and its YAML, do what they say."""

import re
from pathlib import Path

import pytest
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from phasen_sb import Objective, SpectralLoss

README = Path(__file__).parents[1] / "README.md"
SECTION = README.read_text(encoding="utf-8").split("## Swap PHASEN into")[1]
SECTION = SECTION.split("\n## ")[0]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


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


@pytest.mark.parametrize("code", blocks("python"))
def test_blocks_run_and_learn(code):
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


def test_yaml_of_losses_loads():
    costs = [
        load_hyperpyyaml(text)["compute_cost"]
        for text in blocks("yaml")
        if "compute_cost" in text
    ]
    assert [type(cost) for cost in costs] == [Objective, SpectralLoss]
    assert list(costs[0].terms) == ["compressed", "si_snr", "distance"]


def test_fragments_named_are_there():
    models = README.parent / "hparams" / "models"
    named = set(re.findall(r"phasen_\w+\.yaml", SECTION))
    named -= {path.name for path in models.parent.glob("*.yaml")}  # recipes
    assert named == {path.name for path in models.glob("*.yaml")}


def test_every_yaml_is_valid():
    for text in blocks("yaml"):
        assert YAML().load(text)
