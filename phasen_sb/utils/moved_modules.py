"""Modules that have moved are found under their old names, too.

Exported models and YAMLs are published: they name what they are built of, and
must load with every later version. What is written from now on names public
names of ``phasen_sb`` alone, which do not move.

In a checkout ``hparams`` and ``recipes`` lie beside the package; they are found
as the parts of it that they are once installed.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

#: Old modules, within ``phasen_sb``, and where their contents are now.
MOVED = {
    "augmentation.effects": [
        "augmentation.coloration",
        "augmentation.effect",
        "augmentation.levels",
        "augmentation.reverberation",
        "augmentation.speed",
    ],
    "baselines": ["models.baselines"],
    "blocks": ["network.blocks", "network.two_stream_block"],
    "brain": ["training.brain"],
    "checkpoints": ["training.checkpoints"],
    "enhancer": ["models.enhancer", "signals.padding", "signals.level"],
    "envelope_loss": ["losses.log_spectral"],
    "export.weights": ["models.weights"],
    "features": [
        "signals.conv_stft",
        "signals.spectra",
        "signals.windows",
        "signals.padding",
    ],
    "heads": ["network.heads"],
    "inference.pretrained": ["inference.speechbrain_enhancer"],
    "initialization": ["network.initialization"],
    "istft": ["signals.istft"],
    "layers": ["network.layers"],
    "network.norms": ["network.batch_norm", "network.layer_norms"],
    "norms": ["network.batch_norm", "network.layer_norms"],
    "objectives": ["losses.objective"],
    "optimized.native.library": ["native.library"],
    "perceptual_loss": ["losses.pesq"],
    "phasen": ["network.phasen"],
    "reference": ["models.reference"],
    "schedules": ["training.schedules"],
    "slots": ["adapters", "losses.spectral"],
    "waveform_loss": ["losses.si_snr"],
}
#: Packages that a checkout has beside ``phasen_sb``.
BESIDE = ("hparams", "recipes")


class _MovedModules:
    """Finds and loads them; asked only for modules found nowhere else.

    Not an ``importlib.abc.Loader``, which is slow to import.
    """

    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.partition(".")
        if package == "phasen_sb" and name in MOVED:
            return ModuleSpec(fullname, self)
        if package == "phasen_sb" and name in BESIDE:
            folder = Path(__file__).parents[2] / name
            if (folder / "__init__.py").is_file():
                return spec_from_file_location(fullname, folder / "__init__.py")
        return None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves that to ``import``."""

    def exec_module(self, module: ModuleType) -> None:
        _, _, name = module.__name__.partition(".")
        for home in MOVED[name]:
            content = vars(import_module(f"phasen_sb.{home}"))
            vars(module).update(
                (key, value)
                for key, value in content.items()
                if not key.startswith("_")
            )


def find_moved_modules() -> None:
    """Lets ``import`` find the modules of :data:`MOVED`."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
