"""Writes an exported model: a folder that loads without network or run."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import torch

from phasen_sb.errors import UserError
from phasen_sb.export.card import write_card
from phasen_sb.models.loading import StoredModel, is_export
from phasen_sb.utils.file_names import CARD, DESCRIPTION, RESULTS, WEIGHTS
from phasen_sb.utils.files import name_partial


def check_target(folder: str | os.PathLike, overwrite: bool = False) -> Path:
    """Refuses a folder that an export must not be written to.

    Raises UserError unless it is missing, empty or, with ``overwrite``, an
    earlier export. Returns its path.
    """
    folder = Path(folder).expanduser()
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if is_export(folder):
        if overwrite:
            return folder
        raise UserError(
            f"{folder} holds an exported model already; give --overwrite to "
            "replace it, or another folder."
        )
    if folder.exists():
        raise UserError(
            f"{folder} exists and is not an exported model; give another "
            "folder."
        )
    return folder


def write_export(
    model: StoredModel,
    folder: str | os.PathLike,
    licence: str = "apache-2.0",
    overwrite: bool = False,
    half: bool = False,
) -> Path:
    """Writes ``hyperparams.yaml``, ``model.ckpt`` and the model card.

    The enhancer is built and its weights are loaded strictly before anything
    is written. ``licence`` is that of the weights, for the card. With ``half``
    parameters are written as fp16, half as large; computation stays in fp32, as
    running statistics do. Returns the folder. Raises UserError if weights and
    description do not fit, a weight is not finite or too large for fp16, or the
    folder cannot be written; see :func:`check_target`.
    """
    folder = check_target(folder, overwrite)
    enhancer = model.build()
    state = model.state
    if half:
        names = {name for name, _ in enhancer.named_parameters()}
        state = {k: v.half() if k in names else v for k, v in state.items()}
        if not all(v.isfinite().all() for v in state.values()):
            raise UserError(
                f"{model.source} has weights beyond what fp16 holds, 65504; "
                "export it without --half."
            )
    part = name_partial(folder)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / DESCRIPTION).write_text(
            model.description.to_yaml(), encoding="utf-8"
        )
        torch.save(state, part / WEIGHTS)
        card = model.card
        if card is None:
            latency = getattr(enhancer, "latency", None)
            name = folder.resolve().name
            card = write_card(model, name, licence, half, latency)
        (part / CARD).write_text(card, encoding="utf-8")
        if model.results:
            results = json.dumps(_public(model.results), indent=2)
            (part / RESULTS).write_text(results, encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        os.replace(part, folder)
    # torch.save reports a full disk by a RuntimeError.
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{folder} cannot be written ({reason}); make room or give "
            "another folder, then run again."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _public(results):
    # Exports are published, paths are private.
    if "command" not in results:
        return results
    words = (
        re.sub(r"^(-*\w*=)?/.*?([^/]*)/?$", r"\1\2", word)
        for word in shlex.split(results["command"])
    )
    return {**results, "command": shlex.join(words)}
