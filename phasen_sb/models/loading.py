"""Builds enhancers that are stored, and loads their weights."""

import os

import torch
from hyperpyyaml import load_hyperpyyaml

from phasen_sb.errors import UserError
from phasen_sb.models.description import describe
from phasen_sb.models.stored import read_model
from phasen_sb.models.weights import load_state


def load_model(folder: str | os.PathLike) -> torch.nn.Module:
    """Builds the enhancer of a training run or an exported model.

    Arguments
    ---------
    folder : path
        What the user gave.

    Returns
    -------
    torch.nn.Module
        On the CPU, in evaluation mode.

    Raises
    ------
    UserError
        If it is neither, or damaged.
    """
    model = read_model(folder)
    text = describe(model.enhancer, model.sample_rate)
    enhancer = build(text)["enhance_model"]
    load_state(enhancer, model.state, model.source)
    return enhancer.eval()


def build(text: str) -> dict:
    """Builds what a ``hyperparams.yaml`` describes, weights untrained.

    Arguments
    ---------
    text : str
        HyperPyYAML.

    Returns
    -------
    dict
        With ``enhance_model`` and ``sample_rate``.

    Raises
    ------
    UserError
        If an object cannot be built.
    """
    try:
        return load_hyperpyyaml(text)
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise UserError(
            "The run's network cannot be built from its hyperparams.yaml: "
            f"{error}"
        ) from error
