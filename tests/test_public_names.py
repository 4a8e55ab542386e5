"""The names of the package's root, and those that YAMLs used before."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pydoc import locate

import pytest

import phasen_sb
from phasen_sb.utils.moved_modules import MOVED
from phasen_sb.utils.public_names import PUBLIC


def test_type_checkers_see_every_public_name_at_its_home():
    tree = ast.parse(Path(phasen_sb.__file__).read_text())
    [block] = [
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = [
        (name.asname, statement.module)
        for statement in block.body
        for name in statement.names
        if name.asname == name.name  # only then is it re-exported
    ]
    homes = PUBLIC.items()
    assert sorted(seen) == sorted((n, f"phasen_sb.{h}") for n, h in homes)
    for name, home in seen:
        found = getattr(phasen_sb, name)
        assert found is getattr(import_module(home), name)


def test_importing_the_package_loads_nothing_slow():
    script = "import sys, phasen_sb; print(*sys.modules, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    loaded = set(result.stdout.split())
    assert "phasen_sb.utils.moved_modules" in loaded, result.stderr
    assert not loaded & {"importlib.abc", "numpy", "torch"}


#: All that YAMLs and exports of earlier versions named.
NAMES = {
    "baselines": ["LogMagnitudeNetwork", "WaveformModel"],
    "checkpoints": ["AtomicCheckpointer"],
    "export.weights": ["load_weights"],
    "features": ["sqrt_hann_window"],
    "schedules": ["WarmupLinearDecay"],
    "slots": [
        "CarrierDecoder",
        "CarrierEncoder",
        "CarrierMaskNet",
        "FeatureEnhancer",
        "MagnitudeMask",
        "SpectralLoss",
        "WaveformMap",
    ],
    # These have not moved.
    "augmentation": ["Coloration", "Hiss", "Pauses", "Remix", "Reverberation"],
    "data": ["make_datasets", "prepare_data"],
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_earlier_yamls_are_found(module):
    for name in NAMES[module]:
        found = locate(f"phasen_sb.{module}.{name}")
        assert found is getattr(phasen_sb, name)


@pytest.mark.parametrize("module", MOVED)
def test_modules_that_moved_are_importable(module):
    found = import_module(f"phasen_sb.{module}")
    for home in MOVED[module]:
        content = import_module(f"phasen_sb.{home}")
        own = [
            name
            for name, value in vars(content).items()
            if getattr(value, "__module__", None) == content.__name__
            and not name.startswith("_")
        ]
        assert all(getattr(found, n) is getattr(content, n) for n in own)
