"""Loads stored models: training runs, exported models, those of the hub.

There is one way: :func:`read_model` finds and reads a model, and
:meth:`StoredModel.build` makes the enhancer of it.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import huggingface_hub
import torch
from speechbrain.utils.checkpoints import Checkpointer

from phasen_sb.errors import UserError
from phasen_sb.metrics.checkpoint_selection import SELECTION_METRIC
from phasen_sb.models.description import Description, read_description
from phasen_sb.models.weights import check_finite, load_state, read_state
from phasen_sb.utils.file_names import (
    CARD,
    CHECKPOINTS,
    DATA_RECORD,
    DESCRIPTION,
    RESULTS,
    WEIGHTS,
)
from phasen_sb.utils.files import read_json
from phasen_sb.utils.folders import nearest_sibling

#: The exported model that ships with the package.
DEFAULT_MODEL = Path(__file__).parent / "default"

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
AVERAGED = "averaged.ckpt"
AVERAGE_PREFIX = "module."


@dataclass
class StoredModel:
    """A model's description, weights and history."""

    description: Description
    state: dict[str, torch.Tensor]
    #: Where it comes from, for errors and the model card.
    source: str
    #: What ``results.json`` says of exactly these weights; empty if nothing.
    results: dict = field(default_factory=dict)
    #: The settings of the training; empty if they are not known.
    settings: dict = field(default_factory=dict)
    #: What ``data.json`` says of the training data.
    data: dict = field(default_factory=dict)
    #: The model card of an earlier export, kept as it is.
    card: str | None = None

    def build(self) -> torch.nn.Module:
        """Builds the enhancer with its weights.

        It is on the CPU, in fp32 and in evaluation mode. Raises UserError if
        it cannot be built, or the weights are another network's.
        """
        enhancer = self.description.build(self.source)
        load_state(enhancer, self.state, self.source)
        return enhancer.eval()


def is_run(folder: str | os.PathLike) -> bool:
    """Whether a folder looks like the output folder of a training run."""
    return (Path(folder) / CHECKPOINTS).is_dir()


def is_export(folder: str | os.PathLike) -> bool:
    """Whether a folder looks like an exported model."""
    folder = Path(folder)
    return (folder / DESCRIPTION).is_file() and (folder / WEIGHTS).is_file()


def read_model(source: str | os.PathLike | None = None) -> StoredModel:
    """Reads a stored model, whatever kind it is.

    ``source`` is the output folder of a training run, an exported model, or a
    model's name on the Hugging Face hub; by default the model that ships with
    the package. Raises UserError if there is no such model, or it is damaged.
    """
    folder = DEFAULT_MODEL if source is None else _find_folder(source)
    if is_export(folder) and not is_run(folder):
        return read_export(folder)
    return read_run(folder)


def read_export(folder: Path) -> StoredModel:
    """Reads what ``phasen export`` wrote; raises UserError if it is damaged."""
    card = folder / CARD
    return StoredModel(
        read_description(folder / DESCRIPTION),
        read_state(folder / WEIGHTS),
        str(folder),
        _read_json(folder / RESULTS),
        card=card.read_text(encoding="utf-8") if card.is_file() else None,
    )


def read_run(folder: Path) -> StoredModel:
    """Reads the best checkpoint of a training run.

    That is the one with the highest PESQ on the validation set, and of it
    the averaged weights, which are what was validated. Raises UserError if the
    folder holds no finished checkpoint, or one that is not finite.
    """
    if not is_run(folder):
        raise UserError(
            f"{folder} is neither an exported model nor a training run, which "
            f"has a folder '{CHECKPOINTS}'; give what phasen export wrote, or "
            "the output_folder of recipes/train.py."
        )
    best = Checkpointer(folder / CHECKPOINTS).find_checkpoint(
        max_key=SELECTION_METRIC
    )
    if best is None:
        raise UserError(
            f"{folder}/{CHECKPOINTS} holds no checkpoint that was validated; "
            "let the training finish at least one epoch."
        )
    averaged = read_state(best.path / AVERAGED)
    averaged.pop("n_averaged", None)
    state = {
        name.removeprefix(AVERAGE_PREFIX): tensor
        for name, tensor in averaged.items()
    }
    check_finite(state, str(best.path / AVERAGED))
    description = read_description(folder / DESCRIPTION)
    return StoredModel(
        description,
        state,
        str(folder),
        _read_results(folder, best.meta),
        description.settings,
        _read_json(folder / CHECKPOINTS / DATA_RECORD),
    )


def _find_folder(source):
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    near = nearest_sibling(folder)
    hint = f"did you mean {near}?" if near else "check the path."
    if folder.parent.exists() or not HUB_NAME.fullmatch(str(source)):
        raise UserError(f"There is no folder {folder}; {hint}")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(source),
                allow_patterns=[DESCRIPTION, WEIGHTS, CARD, RESULTS],
            )
        )
    # The hub's client raises many kinds of errors of its own.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else error
        raise UserError(
            f"There is no folder {source}, and the Hugging Face hub gave no "
            f"model of that name ({reason}); {hint}"
        ) from error


def _read_results(folder, meta):
    results = _read_json(folder / RESULTS)
    if results.get("epoch") == meta.get("epoch"):
        return results
    # The training went on after the test: only the validation is of these.
    scores = {
        name.removeprefix("valid_"): value
        for name, value in meta.items()
        if name.startswith("valid_")
    }
    return {"epoch": meta.get("epoch"), "valid": {"enhanced": scores}}


def _read_json(path):
    fix = "delete it, or run the training again, which writes it again"
    return read_json(path, fix) if path.exists() else {}
