"""What the pages name is there: links, files, options, modules, packages."""

import re
import shlex
from dataclasses import fields
from pkgutil import resolve_name

import pytest
from helpers.pages import PAGES, ROOT, commands, page_name
from speechbrain.utils.run_opts import RunOptions

import phasen_sb
from phasen_sb.cli import COMMANDS, _parser

HPARAMS = ROOT / "hparams"
RUN_OPTIONS = {field.name for field in fields(RunOptions)}
#: Options of other programs, and of SpeechBrain's recipes in docs/swap.md.
OF_OTHERS = {
    # of Docker and pip
    "build-arg",
    "no-deps",
    "rm",
    "tag",
    "user",
    "volume",
    "wheel-dir",
    "nproc_per_node",
    "help",
    "models",
    "enhance_model",
    "MaskNet",
} | {
    "N_batch",
    "N_epochs",
    "array",
    "cpus-per-task",
    "dynamic_mixing",
    "head",
    "history_portion",
    "mse_weight",
    "number_of_samples",
    # torchrun and sbatch
    "gpus-per-node",
    "nnodes",
    "nodes",
    "ntasks-per-node",
    "open-mode",
    "rdzv_backend",
    "rdzv_endpoint",
    "rdzv_id",
    "requeue",
    "standalone",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def recipe_keys(path):
    text = path.read_text(encoding="utf-8")
    keys = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    base = re.search(r"^base: (\S+)", text, re.MULTILINE)
    return keys | (recipe_keys(path.parent / base[1]) if base else set())


def phasen_options():
    for name in COMMANDS:
        [subparsers] = _parser(name)._subparsers._group_actions
        yield from subparsers.choices[name]._option_string_actions


@every_page
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    for target in targets:
        if not target.startswith(("https://", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


@every_page
def test_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(
        r"\b(?:hparams|recipes|examples|phasen_sb|tests)/[\w/]+\.\w+", text
    )
    for path in set(named):
        assert (ROOT / path).exists(), path


@pytest.fixture(scope="module")
def options():
    known = OF_OTHERS | RUN_OPTIONS
    known |= {option.removeprefix("--") for option in phasen_options()}
    for path in HPARAMS.glob("*.yaml"):
        known |= recipe_keys(path)
    for script in (ROOT / "recipes").rglob("*.py"):
        known |= set(re.findall(r'"--([\w-]+)"', script.read_text()))
    return known


@every_page
def test_options_exist(page, options):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![\w-])--([A-Za-z][\w-]*)", text)) <= options


@pytest.mark.parametrize(
    "command",
    [c for page in PAGES for c in commands(page) if c.startswith("phasen ")],
)
def test_phasen_takes_the_command(command):
    words = shlex.split(command)[1:]
    assert _parser(words[0]).parse_args(words).command == words[0]


@pytest.mark.parametrize(
    "command",
    [c for page in PAGES for c in commands(page) if "recipes/train.py" in c],
)
def test_recipe_takes_the_command(command):
    words = shlex.split(command.partition("recipes/train.py ")[2])
    known = recipe_keys(ROOT / words[0]) | RUN_OPTIONS
    given = {word[2:].partition("=")[0] for word in words if word[:2] == "--"}
    assert given <= known


def test_reference_has_each_public_name_once():
    found = [
        target
        for page in PAGES
        for target in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)
    ]
    assert len(found) == len(set(found))
    public = {name for name in found if name.count(".") == 1}
    assert public == {f"phasen_sb.{name}" for name in phasen_sb.__all__}
    for name in found:
        assert callable(resolve_name(name)), name


def test_map_shows_the_floors():
    config = (ROOT / "pyproject.toml").read_text()
    floors = re.search(r"layers = \[(.*?)\]", config, re.DOTALL)[1]
    floors = [
        {name.strip().removeprefix("phasen_sb.") for name in floor.split("|")}
        for floor in re.findall(r'"(.*)"', floors)
    ]
    shapes = re.findall(
        r'y="(\d+)"[^>]*text-anchor="middle">(\w+)<',
        (ROOT / "docs" / "packages.svg").read_text(),
    )
    heights = sorted({int(y) for y, _ in shapes})
    drawn = [{name for y, name in shapes if int(y) == h} for h in heights]
    assert drawn == floors
    table = (ROOT / "docs" / "packages.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(
        set().union(*floors)
    )
