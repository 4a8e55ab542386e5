"""Finds in a training run, or an earlier export, what an export needs."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from speechbrain.utils.checkpoints import Checkpointer

from phasen_sb.errors import UserError
from phasen_sb.metrics.selection import SELECTION_METRIC
from phasen_sb.models.description import enhancer_of_export, enhancer_of_run
from phasen_sb.models.weights import check_finite, read_state
from phasen_sb.utils.folders import nearest_sibling

DESCRIPTION = "hyperparams.yaml"
WEIGHTS = "model.ckpt"
CARD = "README.md"
RESULTS = "results.json"
AVERAGE_PREFIX = "module."


@dataclass
class TrainedModel:
    """A model's description, weights and history.

    Arguments
    ---------
    enhancer : CommentedMap
        HyperPyYAML that builds the enhancer.
    sample_rate : int
        Its sample rate (Hz).
    state : dict
        Its weights.
    source : str
        Where it comes from, for the model card.
    results : dict
        What ``results.json`` says of exactly these weights; empty if
        nothing.
    settings : dict
        The recipe's plain settings.
    data : dict
        What ``data.json`` says of the training data.
    card : str, optional
        The model card of an earlier export, kept as it is.
    """

    enhancer: CommentedMap
    sample_rate: int
    state: dict[str, torch.Tensor]
    source: str
    results: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    card: str | None = None


def is_run(folder: str | os.PathLike) -> bool:
    """Whether a folder looks like the output folder of a training run."""
    return (Path(folder) / "save").is_dir()


def is_export(folder: str | os.PathLike) -> bool:
    """Whether a folder looks like an exported model."""
    folder = Path(folder)
    return (folder / DESCRIPTION).is_file() and (folder / WEIGHTS).is_file()


def read_model(folder: str | os.PathLike) -> TrainedModel:
    """Reads a training run or an exported model, whichever a folder holds.

    Arguments
    ---------
    folder : path
        What the user gave.

    Returns
    -------
    TrainedModel

    Raises
    ------
    UserError
        If it is neither, or damaged.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        near = nearest_sibling(folder)
        hint = f"did you mean {near}?" if near else "check the path."
        raise UserError(f"There is no folder {folder}; {hint}")
    if is_export(folder) and not is_run(folder):
        return read_export(folder)
    return read_run(folder)


def read_export(folder: str | os.PathLike) -> TrainedModel:
    """Reads an exported model.

    Arguments
    ---------
    folder : path
        What ``phasen export`` wrote.

    Returns
    -------
    TrainedModel

    Raises
    ------
    UserError
        If it is damaged.
    """
    folder = Path(folder)
    enhancer, sample_rate = enhancer_of_export(folder / DESCRIPTION)
    state = read_state(folder / WEIGHTS)
    check_finite(state, str(folder / WEIGHTS))
    card = folder / CARD
    return TrainedModel(
        enhancer,
        sample_rate,
        state,
        str(folder),
        _read_json(folder / RESULTS),
        card=card.read_text(encoding="utf-8") if card.is_file() else None,
    )


def read_run(folder: str | os.PathLike) -> TrainedModel:
    """Reads the best checkpoint of a training run.

    That is the one with the highest PESQ on the validation set, and of it
    the averaged weights, which are what was validated.

    Arguments
    ---------
    folder : path
        Output folder of ``recipes/train.py``.

    Returns
    -------
    TrainedModel

    Raises
    ------
    UserError
        If the folder holds no finished checkpoint, or one that is not finite.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise UserError(
            f"{folder} is neither an exported model nor a training run, which "
            "has a folder 'save'; give what phasen export wrote, or the "
            "output_folder of recipes/train.py."
        )
    saver = Checkpointer(folder / "save")
    best = saver.find_checkpoint(max_key=SELECTION_METRIC)
    if best is None:
        raise UserError(
            f"{folder}/save holds no checkpoint that was validated; let the "
            "training finish at least one epoch."
        )
    description = folder / DESCRIPTION
    enhancer, sample_rate = enhancer_of_run(description)
    settings = _plain_settings(description)
    averaged = read_state(best.path / "averaged.ckpt")
    averaged.pop("n_averaged", None)
    state = {
        name.removeprefix(AVERAGE_PREFIX): tensor
        for name, tensor in averaged.items()
    }
    check_finite(state, str(best.path / "averaged.ckpt"))
    return TrainedModel(
        enhancer,
        sample_rate,
        state,
        str(folder),
        _results(folder, best.meta),
        settings,
        _read_json(folder / "save" / "data.json"),
    )


def _plain_settings(path):
    content = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    return {
        key: value
        for key, value in content.items()
        if isinstance(value, (str, int, float))
    }


def _results(folder, meta):
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
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete it, or run the training "
            "again, which writes it anew."
        ) from error
